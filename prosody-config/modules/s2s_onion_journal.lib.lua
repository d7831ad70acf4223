-- What is on its way to other servers, in a file, so that a Prosody that is killed
-- still has it when it starts again. Knows of no server.
--
-- A record is "+<number> <tries> <bytes>", a line feed, the text and a line feed; or
-- "-<number>" and a line feed, once the text is needed no more. Each is one write, and
-- not synced: it survives the process, and not the machine.
local journal = {};

-- Returns the records of a file that were not taken out again, in their order. What a
-- killed process wrote by half is at the end, and no record.
local function read(path)
	local file = io.open(path, "rb");
	if not file then return {}; end
	local found, order = {}, {};
	for line in file:lines() do
		local number, tries, bytes = line:match("^%+(%d+) (%d+) (%d+)$");
		if number then
			local text = file:read(tonumber(bytes));
			if not text or #text < tonumber(bytes) or file:read(1) ~= "\n" then break; end
			found[number] = { text = text; tries = tonumber(tries) };
			table.insert(order, number);
		else
			number = line:match("^%-(%d+)$");
			if not number then break; end
			found[number] = nil;
		end
	end
	file:close();
	local records = {};
	for _, number in ipairs(order) do table.insert(records, found[number]); end
	return records;
end

-- Returns the journal in a file, made if it is not there, and the records that the
-- process before left in it, in their order: each with its `text` and `tries`, and in
-- the journal by its `number`.
--   limit  bytes of all that waits; what comes beyond is not kept
function journal.open(path, limit)
	local book, file, count = {}, nil, 0;
	local records, waiting_bytes, file_bytes = {}, 0, 0;

	local function write(text)
		if not file then return false; end
		file_bytes = file_bytes + #text;
		if file:write(text) and file:flush() then return true; end
		file:close();
		file = nil; -- a full disk, perhaps: the next put tries anew
		return false;
	end

	local function as_text(record)
		return ("+%d %d %d\n%s\n"):format(record.number, record.tries, #record.text, record.text);
	end

	-- Writes the file anew, with what waits and nothing else.
	local function rewrite()
		if file then file:close(); end
		local numbers = {};
		for number in pairs(records) do table.insert(numbers, number); end
		table.sort(numbers);
		file, file_bytes = io.open(path..".new", "wb"), 0;
		for _, number in ipairs(numbers) do write(as_text(records[number])); end
		if not file or not os.rename(path..".new", path) then
			if file then file:close(); end
			file = nil;
		end
	end

	-- Keeps a text; returns its number, or nil if it cannot be kept.
	--   tries  how many processes have had it before
	function book.put(text, tries)
		if waiting_bytes + #text > limit then return nil; end
		if not file then rewrite(); end
		count = count + 1;
		local record = { number = count; tries = tries; text = text };
		if not write(as_text(record)) then return nil; end
		records[count], waiting_bytes = record, waiting_bytes + #text;
		return count;
	end

	-- Takes a text out; its number may be nil, or out already.
	function book.drop(number)
		local record = records[number or 0];
		if not record then return; end
		records[number], waiting_bytes = nil, waiting_bytes - #record.text;
		if not next(records) or file_bytes > 2 * limit then
			rewrite();
		else
			write(("-%d\n"):format(number));
		end
	end

	function book.close()
		if file then file:close(); end
		file = nil;
	end

	local left = read(path);
	for _, record in ipairs(left) do
		count = count + 1;
		record.number = count;
		records[count], waiting_bytes = record, waiting_bytes + #record.text;
	end
	rewrite();
	return book, left;
end

return journal;
