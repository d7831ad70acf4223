-- What mod_omemo_slim decides, without a server: which parts of an OMEMO header are
-- certainly for somebody else. Elements are only read, never changed.
local slim = {};

-- "0042" and "42" are one number. Numbers stay text: no rounding, and no limit.
function slim.id(text)
	return type(text) == "string" and #text <= 20 and text:match("^0*(%d+)$") or nil;
end

-- Old namespace (eu.siacs.conversations.axolotl): a key names a device number and
-- no account. Sorts the keys of a header once, for all who get it.
--   header  the <header/> element
--   listed  set of the numbers in the present device lists of the room's people
-- Returns { always = places of what nobody may lose; of = number -> places }: places
-- are indices into header.
function slim.plan(header, listed)
	local always, of = {}, {};
	for place = 1, #header do
		local child = header[place];
		local number = child.name == "key" and child.attr and slim.id(child.attr.rid);
		if number and listed[number] then
			of[number] = of[number] or {};
			table.insert(of[number], place);
		else
			table.insert(always, place); -- <iv/>, and keys of devices that nobody here lists
		end
	end
	return { always = always; of = of };
end

-- The children of header for somebody whose devices are, or lately were, `mine`
-- (set of numbers), in their order.
function slim.children_for(header, plan, mine)
	local places = {};
	for _, place in ipairs(plan.always) do table.insert(places, place); end
	for number in pairs(mine) do
		for _, place in ipairs(plan.of[number] or {}) do table.insert(places, place); end
	end
	table.sort(places);
	local children = {};
	for index, place in ipairs(places) do children[index] = header[place]; end
	return children;
end

-- urn:xmpp:omemo:2: <keys jid=""/> names the account, so the group is kept whole,
-- whatever the numbers in it.
--   bare     the account that gets it, prepared
--   prepare  returns a JID as `bare` is written, and nil if it is none
-- A group whose name is no bare JID is nobody's for certain, and is kept. A header
-- never loses its last group: to be without any is against the schema.
function slim.groups_for(header, bare, prepare)
	local children, groups, spare = {}, 0, nil;
	for place = 1, #header do
		local child = header[place];
		local is_group = child.name == "keys";
		local name = is_group and child.attr and child.attr.jid;
		local owner = name and not name:find("/", 1, true) and prepare(name);
		if is_group and owner and owner ~= bare then
			spare = spare or child;
		else
			if is_group then groups = groups + 1; end
			table.insert(children, child);
		end
	end
	if groups == 0 and spare then table.insert(children, 1, spare); end
	return children;
end

return slim;
