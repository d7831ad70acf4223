-- An invite may name a room: whoever makes an account with it is a member, and gets
-- the room's invitation when they come in for the first time: clients leave alone what
-- is older than their log-in. Works on Prosody 0.12 and 13.0.
--
-- The room is in the invite's additional data, where `server invite --room` puts it.
-- A guest names none.
local found, st = pcall(require, "prosody.util.stanza");
if not found then st = require "util.stanza"; end

local waiting = module:open_store("invites_rooms");

local function find_room(name)
	local component = name and prosody.hosts["muc."..module.host];
	local muc = component and component.modules.muc;
	return muc and muc.get_room_from_jid(name);
end

local function first_owner(room)
	for account in room:each_affiliation("owner") do return account; end
	return room.jid;
end

module:hook("user-registered", function (event)
	local shown = event.validated_invite or event.session and event.session.validated_invite;
	local name = shown and shown.additional_data and shown.additional_data.room;
	local room = find_room(name);
	if not room then return; end -- it was closed meanwhile: the account is good all the same
	room:set_affiliation(true, event.username.."@"..module.host, "member");
	waiting:set(event.username, { room = name });
end);

module:hook("presence/initial", function (event)
	local session = event.origin;
	local data = session.username and waiting:get(session.username);
	if not data then return; end
	waiting:set(session.username, nil);
	local room = find_room(data.room);
	if not room then return; end
	session.send(st.message({ from = room.jid; to = session.full_jid })
		:tag("x", { xmlns = "http://jabber.org/protocol/muc#user" })
			:tag("invite", { from = first_owner(room) }):up():up());
end);
