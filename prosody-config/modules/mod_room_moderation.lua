-- Lets an owner or an admin of a room take a message out of it (XEP-0425): in the
-- archive and the history a note stands in its place, and everybody who is there is
-- told. What somebody has read already nobody can take from them.
--
-- For a "muc" component with "muc_mam", on Prosody 0.12 and 13.0. The note says who
-- did it by the account, so that clients can compare it with the room's list of
-- members: a nick may be somebody else's by the time that it is read.
local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local jid, st, datetime = lib "util.jid", lib "util.stanza", lib "util.datetime";
local new_id = lib "util.id".medium;

local xmlns_moderate = "urn:xmpp:message-moderate:1";
local xmlns_retract = "urn:xmpp:message-retract:1";
local xmlns_ids = "urn:xmpp:sid:0";
local xmlns_user = "http://jabber.org/protocol/muc#user";
local reason_limit = 1000; -- bytes

local muc = module:depends "muc";
local archive = module:open_store("muc_log", "archive");
local may = { owner = true; admin = true };

local function by_whom(parent, room, occupant)
	local account = jid.bare(occupant.jid);
	parent:tag("moderated", { xmlns = xmlns_moderate; by = occupant.nick });
	if room:get_whois() == "anyone" then
		parent:tag("item", {
			xmlns = xmlns_user; jid = account; affiliation = room:get_affiliation(account);
		}):up();
	end
	return parent:up();
end

-- Returns what stays of a message: from where it was said, and that it is gone.
local function note_for(message, id, room, occupant)
	local note = st.message({ type = "groupchat"; from = message.attr.from; id = message.attr.id });
	note:tag("retracted", { xmlns = xmlns_retract; id = id; stamp = datetime.datetime() });
	return by_whom(note, room, occupant):up();
end

-- Prosody keeps the newest messages in memory as well, for who comes in.
local function forget(room, id, note)
	for _, entry in ipairs(room._history or {}) do
		for tag in entry.stanza:childtags("stanza-id", xmlns_ids) do
			if tag.attr.id == id and tag.attr.by == room.jid then
				local delay = entry.stanza:get_child("delay", "urn:xmpp:delay");
				entry.stanza = st.clone(note):add_child(delay):add_child(tag);
				entry.chars = nil;
				break;
			end
		end
	end
end

module:hook("iq-set/bare/"..xmlns_moderate..":moderate", function (event)
	local origin, stanza = event.origin, event.stanza;
	local function refuse(kind, condition)
		origin.send(st.error_reply(stanza, kind, condition));
		return true;
	end
	local room = muc.get_room_from_jid(stanza.attr.to);
	if not room then return refuse("cancel", "item-not-found"); end
	local occupant = room:get_occupant_by_real_jid(stanza.attr.from);
	if not occupant or not may[room:get_affiliation(stanza.attr.from)] then
		return refuse("auth", "forbidden");
	end
	local asked = stanza.tags[1];
	local id, reason = asked.attr.id, asked:get_child_text("reason");
	if not id or id == "" or not asked:get_child("retract", xmlns_retract)
		or #(reason or "") > reason_limit then
		return refuse("modify", "bad-request");
	end

	local name = jid.node(room.jid);
	local message, _, with = archive:get(name, id);
	-- What the room itself said cannot be taken out, nor what is out already.
	if not message or with ~= "message<groupchat" or message.attr.from == room.jid
		or message:get_child("retracted", xmlns_retract) then
		return refuse("cancel", "item-not-found");
	end
	local note = note_for(message, id, room, occupant);
	if not archive:set(name, id, note) then
		return refuse("wait", "internal-server-error");
	end
	forget(room, id, note);

	local told = st.message({ type = "groupchat"; from = room.jid; id = new_id() });
	told:tag("retract", { xmlns = xmlns_retract; id = id });
	by_whom(told, room, occupant);
	if reason then told:text_tag("reason", reason); end
	told:up():tag("store", { xmlns = "urn:xmpp:hints" }):up(); -- for who is away
	room:broadcast_message(told);
	origin.send(st.reply(stanza));
	return true;
end);

module:hook("muc-disco#info", function (event)
	event.reply:tag("feature", { var = xmlns_moderate }):up();
end);
