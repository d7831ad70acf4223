-- A name that the server had: it says where it is now, to whom that concerns.
--
-- For a VirtualHost and for its component of rooms. Who logs in under the old name is
-- told the new one, with a document that both names signed; and so are a person's
-- contacts, and the members of a room, when they write to the old address (RFC 6120,
-- section 8.3.3.5, and RFC 6121, section 4.3.2: gone). Everybody else learns nothing:
-- whoever floods the old name would follow at once.
--
-- Options:
--   moved_to        the name that it has, of this host or component
--   moved_document  the text of the document
--   moved_until     Unix time; nobody is told any more afterwards

local st = require "util.stanza";
local jid = require "util.jid";
local rostermanager = require "core.rostermanager";
local add_task = require "util.timer".add_task;
local now = os.time;

local xmlns = "urn:xmpp-onion:moved:0";
local xmlns_stanzas = "urn:ietf:params:xml:ns:xmpp-stanzas";

local new = module:get_option_string("moved_to");
local document = module:get_option_string("moved_document");
local deadline = module:get_option_number("moved_until", 0);

local is_component = module:get_host_type() == "component";

local function is_over()
	return now() > deadline;
end

local function moved()
	return st.stanza("moved", { xmlns = xmlns }):text(document);
end

-- Who logs in ----------------------------------------------------------------------

-- Only after the login: then it is somebody who lives here. Nothing else is offered;
-- other clients see the stream end with a condition of RFC 6120, section 4.9.3.6.
module:hook("stream-features", function (event)
	local session = event.origin;
	if not session.username then return; end
	if is_over() then
		session:close({ condition = "host-gone"; text = "This server has another name" });
		return true;
	end
	event.features:add_child(moved());
	add_task(0, function ()
		if session.conn and not session.destroyed then
			session:close({ condition = "host-gone"; text = "This server is "..new.." now" });
		end
	end);
	return true;
end, 1000);

-- Who writes -------------------------------------------------------------------------

local function is_member(node, who)
	local host = prosody.hosts[new];
	local muc = host and host.modules.muc;
	local room = muc and muc.get_room_from_jid(node.."@"..new);
	local affiliation = room and room:get_affiliation(who);
	return affiliation and affiliation ~= "none" and affiliation ~= "outcast";
end

local function is_contact(node, who)
	local users = prosody.hosts[new] and prosody.hosts[new].users;
	if not users or not users.user_exists(node) then return false; end
	local entry = rostermanager.load_roster(node, new)[who];
	return entry and (entry.subscription == "both" or entry.subscription == "from"
		or entry.subscription == "to");
end

local function concerns(stanza)
	local node = jid.split(stanza.attr.to);
	local who = jid.bare(stanza.attr.from);
	if not node or not who or is_over() then return false; end
	if is_component then
		return is_member(node, who);
	end
	return is_contact(node, who);
end

local function gone(stanza)
	local node, _, resource = jid.split(stanza.attr.to);
	return st.error_reply(stanza, {
		type = "cancel"; condition = "gone"; text = "This address has moved";
		extra = { uri = "xmpp:"..jid.join(node, new, resource); tag = moved() };
	});
end

-- An answer would be answered for ever; who goes away is not looking for anybody.
local silent = {
	error = true; result = true; unavailable = true; unsubscribed = true;
	unsubscribe = true; subscribed = true;
};

local function answer(event)
	local origin, stanza = event.origin, event.stanza;
	if silent[stanza.attr.type] then return true; end
	if concerns(stanza) then
		origin.send(gone(stanza));
	elseif stanza.name ~= "presence" then
		origin.send(st.error_reply(stanza, "cancel", "service-unavailable"));
	end
	return true;
end

for _, name in ipairs({ "message"; "iq"; "presence" }) do
	for _, kind in ipairs({ "bare"; "full"; "host" }) do
		module:hook(name.."/"..kind, answer, 10000);
	end
end
