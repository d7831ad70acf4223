-- In a room of a hundred people each message carries a key for every device of
-- everybody, and each of them needs two. Gives everybody of this server only what
-- may be for their own devices: in live messages, in the history at joining, and in
-- answers from the room's archive, which keeps every message whole.
--
-- For a "muc" component, on Prosody 0.12 and 13.0. Whatever is not certainly for
-- somebody else stays; who is on another server gets everything. The argument that
-- nobody loses a key is in docs/adr/0025-slim-keys-in-rooms.md.
local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local jid, st, cache = lib "util.jid", lib "util.stanza", lib "util.cache";
local slim = module:require "omemo_slim";

local xmlns_old = "eu.siacs.conversations.axolotl";
local xmlns_new = "urn:xmpp:omemo:2";
local xmlns_mam = "urn:xmpp:mam:2";
local list_node = xmlns_old..".devicelist";
local list_events = { "item-published"; "item-retracted"; "node-purged"; "node-deleted" };

-- How long a device counts as somebody's after it left the list: longer than any
-- archive keeps what was encrypted for it, and than senders use a list they once read.
local former_seconds = module:get_option_number("omemo_slim_former_days", 90) * 86400;
-- Who has listed more devices than this within that time gets everything.
local devices_limit = 1000;

local rooms = module:depends "muc";
local hosts = prosody.hosts;
local records = module:open_store("omemo_slim"); -- account -> { current, former }

-- Whose device is it -----------------------------------------------------------------

-- account -> { mine = set, listed = set }, or false: no list; forgotten on any change
local known = cache.new(10000);
local changes = 0; -- counts them, so that no plan outlives the lists it was made from

-- Returns the set of numbers in a user's list, false without a list, or nil if it
-- cannot be read.
local function read_list(user, host)
	local pep = hosts[host] and hosts[host].modules.pep;
	if not pep then return nil; end
	local fine, found, items = pcall(function ()
		return pep.get_pep_service(user):get_items(list_node, true);
	end);
	if not fine then return nil; end
	if not found then
		if items == "item-not-found" then return false; end
		return nil;
	end
	local numbers = {};
	for _, item_id in ipairs(items) do
		local list = items[item_id]:get_child("list", xmlns_old);
		for device in (list or st.stanza("list")):childtags("device") do
			local number = slim.id(device.attr.id);
			if number then numbers[number] = true; end
		end
	end
	return numbers;
end

-- Keeps on the disk what left the list, and returns who it still counts for.
local function remember(account, numbers)
	local record, problem = records:get(account);
	if problem then return nil; end
	record = record or {};
	local current, former = record.current or {}, record.former or {};
	local now, changed = os.time(), false;
	for number in pairs(current) do
		if not numbers[number] then former[number], changed = now, true; end
	end
	for number in pairs(numbers) do changed = changed or not current[number]; end
	local mine, count = {}, 0;
	for number in pairs(numbers) do mine[number], count = true, count + 1; end
	for number, left in pairs(former) do
		if left + former_seconds < now then
			former[number], changed = nil, true;
		elseif not mine[number] then
			mine[number], count = true, count + 1;
		end
	end
	if changed and not records:set(account, { current = numbers; former = former }) then
		return nil;
	end
	return count <= devices_limit and mine or nil;
end

-- Returns what is known about an account of this server; nil if anything is unclear.
local function look_up(account)
	local found = known:get(account);
	if found ~= nil then return found or nil; end
	local user, host = jid.split(account);
	local numbers = user and read_list(user, host);
	if numbers == nil then return nil; end
	-- Without a list, or with an empty one, something else than this server knows
	-- the devices.
	local mine = numbers and next(numbers) and remember(account, numbers);
	found = mine and { mine = mine; listed = numbers } or false;
	known:set(account, found);
	return found or nil;
end

local function on_list_changed(event)
	local account = event.service.config.jid;
	if event.node ~= list_node then return; end
	known:set(account, nil);
	changes = changes + 1;
	look_up(account); -- now, so that a list which is soon replaced is remembered too
end

-- Returns the numbers in the present lists of everybody in a room.
local function listed_in(room)
	local listed = {};
	local function add(account)
		for number in pairs((look_up(account) or {}).listed or {}) do listed[number] = true; end
	end
	for account, affiliation in room:each_affiliation() do
		if affiliation ~= "outcast" then add(account); end
	end
	for _, occupant in pairs(room._occupants) do add(occupant.bare_jid); end
	return listed;
end

-- Copies with less in them -----------------------------------------------------------

-- A message goes to one occupant after the other, so the last plan is enough, of each
-- version.
local last = { [xmlns_old] = {}; [xmlns_new] = {} };
local function plan_for(room, header)
	local xmlns = header.attr.xmlns;
	local kept = last[xmlns];
	if kept.header == header and kept.changes == changes then return kept.plan; end
	local name, name_of;
	if xmlns == xmlns_new then
		name, name_of = slim.by_account(jid.prep);
	else
		name, name_of = slim.by_number(listed_in(room));
	end
	local plan = slim.plan(header, name, name_of);
	last[xmlns] = { header = header; changes = changes; plan = plan };
	return plan;
end

-- A copy of one element with other children; they are shared with the original,
-- which nobody changes.
local function with_children(element, children)
	local copy = st.clone(element, true);
	for _, child in ipairs(children) do
		table.insert(copy, child);
		if child.name then table.insert(copy.tags, child); end
	end
	return copy;
end

-- Returns the element as `change` has it, for each child; itself if none changes.
local function map(element, change)
	local children, changed = {}, false;
	for place = 1, #element do
		local child = element[place];
		children[place] = child.name and change(child) or child;
		changed = changed or children[place] ~= child;
	end
	return changed and with_children(element, children) or element;
end

local function slim_header(room, header, names)
	local children = slim.children_for(header, plan_for(room, header), names);
	return #children < #header and with_children(header, children) or header;
end

local function make_slim(room, account, message)
	local names = {
		[xmlns_old] = (look_up(account) or {}).mine; -- nil: everything
		[xmlns_new] = { [account] = true };
	};
	return map(message, function (encrypted)
		local xmlns = encrypted.attr.xmlns;
		if encrypted.name ~= "encrypted" or not names[xmlns] then return encrypted; end
		return map(encrypted, function (header)
			if header.name ~= "header" or header.attr.xmlns ~= xmlns then return header; end
			return slim_header(room, header, names[xmlns]);
		end);
	end);
end

-- Returns the message for an account of this server; whole rather than not at all.
local function slim_message(room, account, message)
	local fine, result = pcall(make_slim, room, account, message);
	if fine then return result; end
	module:log("error", "A message is delivered whole: %s", result);
	return message;
end

-- Tells whether a message is OMEMO and what goes along with it, of which only the room
-- names an id: no id that claims to be from an account's archive (XEP-0359), no call
-- that rings elsewhere too, nothing private. It is the same for all occupants.
local beside = {
	["urn:xmpp:hints"] = true; ["urn:xmpp:eme:0"] = true; ["urn:xmpp:occupant-id:0"] = true;
	[xmlns_old] = true; [xmlns_new] = true;
};
local judged = {};
local function is_alone(room, message)
	if judged.message == message then return judged.alone; end
	local encrypted, alone = false, true;
	for _, child in ipairs(message.tags) do
		local xmlns = child.attr.xmlns;
		if xmlns == "urn:xmpp:sid:0" then
			alone = alone and (child.name == "origin-id" or child.attr.by == room.jid);
		else
			alone = alone and (beside[xmlns] or child.name == "body" and not xmlns) and true;
		end
		encrypted = encrypted or child.name == "encrypted" and (xmlns == xmlns_old or xmlns == xmlns_new);
	end
	judged = { message = message; alone = alone and encrypted };
	return judged.alone;
end

-- Where messages pass ----------------------------------------------------------------

local function is_local(host)
	return hosts[host] and hosts[host].type == "local";
end

-- What a room sends to an occupant: one stanza, of which only "to" changes.
local function on_delivery(event)
	local stanza = event.stanza;
	if event.origin ~= hosts[module.host] or stanza.attr.type ~= "groupchat" then return; end
	local room = rooms.get_room_from_jid(jid.bare(stanza.attr.from));
	if not room then return; end
	event.omemo_slim_alone = is_alone(room, stanza);
	event.stanza = slim_message(room, jid.bare(stanza.attr.to), stanza);
end

-- mod_mam and mod_carbons look at each copy, copy it once more and leave it alone, for
-- it was said in a room: a quarter of all work. What they would change is not "alone".
local function on_last_steps(event)
	if not event.omemo_slim_alone then return; end
	local session = prosody.full_sessions[event.stanza.attr.to];
	return session and session.send(event.stanza) and true or nil; -- as mod_message does
end

-- Answers from the archive do not pass there: they go straight to who asked.
module:hook("iq-set/bare/"..xmlns_mam..":query", function (event)
	local origin, stanza = event.origin, event.stanza;
	local account = jid.bare(stanza.attr.from);
	local _, host = jid.split(account);
	local room = rooms.get_room_from_jid(stanza.attr.to);
	if origin.type ~= "c2s" or not room or not is_local(host) then return; end
	local function send(answer)
		local result = answer.name == "message" and answer:get_child("result", xmlns_mam);
		if not result then return origin.send(answer); end
		return origin.send(map(answer, function (child)
			return child ~= result and child or map(child, function (forwarded)
				return map(forwarded, function (message)
					if message.name ~= "message" then return message; end
					return slim_message(room, account, message);
				end);
			end);
		end));
	end
	event.origin = setmetatable({ send = send }, { __index = origin });
end, 100); -- before mod_muc_mam, which answers

local function watch(host)
	if not is_local(host) then return; end
	local there = module:context(host);
	there:hook("message/full", on_delivery, 1000);
	there:hook("message/full", on_last_steps, 0.5); -- behind mod_blocklist
	there:handle_items("pep-service", function (added)
		for _, name in ipairs(list_events) do
			module:hook_object_event(added.item.service.events, name, on_list_changed);
		end
	end, function (removed)
		for _, name in ipairs(list_events) do
			module:unhook_object_event(removed.item.service.events, name, on_list_changed);
		end
	end);
end

module:hook_global("user-deleted", function (event)
	local account = jid.join(event.username, event.host);
	known:set(account, nil);
	changes = changes + 1;
	records:set(account, nil);
end);

module:hook_global("host-activated", watch);
for host in pairs(hosts) do watch(host); end
