-- Lets an approval that came before the request count while whoever gave it is away.
--
-- Who adds a contact approves of being asked back (RFC 6121, section 3.4). If they are
-- away when that happens, and both have their accounts here, mod_presence asks the list
-- of whoever is here what the other one's says (is_contact_subscribed), and finds the
-- very request that it is answering: one list then says "both" and the other one that
-- it waits, until both log in at once. Here the other list is told as well. It mends
-- lists of before, too: Prosody repeats what waits at each log-in. Works on Prosody 0.12
-- and 13.0.
local function lib(name)
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end

local jid, st = lib "util.jid", lib "util.stanza";
local rostermanager = lib "core.rostermanager";
local sessionmanager = lib "core.sessionmanager";

module:hook("presence/bare", function (event)
	local stanza = event.stanza;
	if stanza.attr.type ~= "subscribe" then return; end
	local asked, sender = stanza.attr.to, jid.bare(stanza.attr.from);
	local user, asking, place = jid.node(asked), jid.split(sender);
	if not user or not asking or place ~= module.host then return; end
	if prosody.bare_sessions[asked] then return; end -- their own list is looked at then
	local roster = rostermanager.load_roster(user, module.host);
	local item = roster and roster[sender];
	if not item then return; end
	if item.subscription ~= "from" and item.subscription ~= "both" then
		if not item.approved then return; end
		if not rostermanager.is_contact_pending_in(user, module.host, sender) then
			rostermanager.set_contact_pending_in(user, module.host, sender, stanza);
		end
		if not rostermanager.subscribed(user, module.host, sender) then return; end
	end
	if rostermanager.process_inbound_subscription_approval(asking, module.host, asked) then
		sessionmanager.send_to_interested_resources(asking, module.host,
			st.presence({ from = asked; to = sender; type = "subscribed" }));
		rostermanager.roster_push(asking, module.host, asked);
	end
	return true;
end, 10); -- behind mod_stamps and mod_stranger_limits, before mod_presence
