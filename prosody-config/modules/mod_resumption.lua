-- Reads on with the new connection where a stream is resumed (XEP-0198).
--
-- mod_c2s of 0.12 and 13.0 hands what comes to the parser of the connection on which the
-- stream began. What is said behind the request for resumption, and comes in two pieces,
-- is then lost with the first of them, and counted with the second; and where the earlier
-- connection broke inside a stanza, all that follows is taken for a part of that.
--
-- Clients are told, for where it is not so they had better wait for the answer:
--
--   <resumption xmlns='urn:xmpp-onion:resumption:0'/>    among the features of a stream
local xmlns = "urn:xmpp-onion:resumption:0";
local too_big = { condition = "policy-violation"; text = "XML stanza is too big" };

local function read(session, data)
	data = data and session.filter("bytes/in", data);
	if not data then return; end
	local ok, why = session.stream:feed(data);
	if not ok then
		session.log("debug", "What came is no XML of a stream (%s)", why);
		session:close(why == "stanza-too-large" and too_big or "not-well-formed");
	end
end

local function go_on(session)
	function session.data(data) return read(session, data); end
end

-- 13.0 tells at once, 0.12 when all that was missed has been sent again: no other data is
-- read in between.
module:hook_global("c2s-session-updated", function (event)
	if event.session.host == module.host then go_on(event.session); end
end);
module:hook("smacks-hibernation-end", function (event) go_on(event.resumed); end);

module:hook("stream-features", function (event)
	event.features:tag("resumption", { xmlns = xmlns }):up();
end);
