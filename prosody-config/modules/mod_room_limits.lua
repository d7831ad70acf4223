-- How many rooms one account may make and keep. Who made a room is noted beside it until
-- the room is gone: who owns it would not do, for everybody can be made an owner by
-- somebody who wants to use up what they may have. Works on Prosody 0.12 and 13.0.
local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local jid, st = lib "util.jid", lib "util.stanza";
local get_room = module:depends "muc".get_room_from_jid;

-- prosody.cfg.lua gives the reason.
local most_rooms = module:get_option_number("account_rooms", 50);

local store = module:open_store("rooms_made");

-- Returns those that still exist, and how many they are.
local function rooms_of(user)
	local made, count = {}, 0;
	for room in pairs(store:get(user) or {}) do
		local there = get_room(room.."@"..module.host); -- perhaps a tombstone
		if there and not there._data.destroyed then made[room], count = true, count + 1; end
	end
	return made, count;
end

module:hook("muc-room-pre-create", function (event)
	local user = jid.node(event.stanza.attr.from);
	local made, count = rooms_of(user);
	if count >= most_rooms then
		event.origin.send(st.error_reply(event.stanza, "wait", "resource-constraint",
			"You have made too many rooms; destroy one first", module.host));
		return true;
	end
	made[jid.node(event.room.jid)] = true;
	store:set(user, made);
end, -0.5); -- who may not make one at all was told so already

module:hook_global("user-deleted", function (event)
	if "muc."..event.host == module.host then store:set(event.username, nil); end
end);
