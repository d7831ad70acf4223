-- What mod_omemo_slim decides, without a server: which parts of an OMEMO header are
-- certainly for somebody else. Elements are only read, never changed.
local slim = {};

-- "0042" and "42" are one number. Numbers stay text: no rounding, and no limit.
function slim.id(text)
	return type(text) == "string" and #text <= 20 and text:match("^0*(%d+)$") or nil;
end

-- eu.siacs.conversations.axolotl: a key names a device number and no account.
--   listed  set of the numbers in the present device lists of the room's people
function slim.by_number(listed)
	return "key", function (key)
		local number = slim.id(key.attr.rid);
		return number and listed[number] and number; -- else it may be anybody's
	end;
end

-- urn:xmpp:omemo:2: a group of keys names the account. Device numbers do not matter.
--   prepare  returns a JID in the one form that can be compared, and nil if it is none
function slim.by_account(prepare)
	return "keys", function (group)
		local name = group.attr.jid;
		return name and not name:find("/", 1, true) and prepare(name);
	end;
end

-- Sorts the children of a header once, for all who get it.
--   name     of the elements that are for somebody
--   name_of  returns for whom one of them certainly is; else nil or false
-- Returns { always = places of what nobody may lose; of = whom -> places }: places are
-- indices into header. `spare` is a place that stays where nothing else would.
function slim.plan(header, name, name_of)
	local always, of, spare, keeps_some = {}, {}, nil, false;
	for place = 1, #header do
		local child = header[place];
		local is_key = child.name == name;
		local whom = is_key and name_of(child);
		if whom then
			of[whom] = of[whom] or {};
			table.insert(of[whom], place);
			spare = spare or place;
		else
			table.insert(always, place);
			keeps_some = keeps_some or is_key;
		end
	end
	return { always = always; of = of; spare = not keeps_some and spare or nil };
end

-- Returns the children of header for somebody who is called `names` (a set), in their
-- order. A header keeps one key at least: some schemas want one.
function slim.children_for(header, plan, names)
	local places = {};
	for index, place in ipairs(plan.always) do places[index] = place; end
	for whom in pairs(names) do
		for _, place in ipairs(plan.of[whom] or {}) do table.insert(places, place); end
	end
	if #places == #plan.always and plan.spare then table.insert(places, plan.spare); end
	table.sort(places);
	local children = {};
	for index, place in ipairs(places) do children[index] = header[place]; end
	return children;
end

return slim;
