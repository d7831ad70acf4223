-- Empties the offline store of whoever reads the archive.
--
-- A message for somebody who is away is kept twice: in the archive, and in the offline
-- store. Whoever asks the archive for it before presence is sent nothing from the
-- other one (mod_mam), so that nothing ever leaves it, and who wrote when would lie on
-- the disk for ever. So at each such log-in what is older than the archive keeps is
-- handed over, in the usual way, and then removed: no message goes that nobody was
-- given, and an account of which one client reads by presence alone still gets all that
-- is newer. Works on Prosody 0.12 and 13.0.
local datetime = require "util.datetime";

local messages = module:open_store("offline", "archive");
-- Seconds; longer than archive_expires_after, which is counted in whole days.
local keep = module:get_option_number("offline_tidy_after", 8 * 86400);

module:hook("message/offline/broadcast", function (event)
	local session = event.origin;
	if not session.mam_requested then return; end -- mod_offline gives them everything
	local old = { ["end"] = os.time() - keep };
	local found = messages:find(session.username, old);
	if not found then return; end
	local count = 0;
	for _, stanza, when in found do
		count = count + 1;
		stanza:tag("delay", {
			xmlns = "urn:xmpp:delay"; from = session.host; stamp = datetime.datetime(when);
		}):up();
		session.send(stanza);
	end
	if count > 0 then messages:delete(session.username, old); end
end, 1); -- before mod_mam, which says that it is done
