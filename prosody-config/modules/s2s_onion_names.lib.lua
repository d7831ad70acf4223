-- Which names mod_s2s_onion takes for servers, without a server.
--
-- Source: rend-spec-v3, section 6: base32 of the key (32 bytes), a checksum (2) and the
-- version (1), which is 3 and ends the name in a d.
local names = {};
local alphabet = "abcdefghijklmnopqrstuvwxyz234567";

local function from_base32(text)
	local bytes, bits, count = {}, 0, 0;
	for letter in text:gmatch(".") do
		bits, count = (bits << 5) | (alphabet:find(letter, 1, true) - 1), count + 5;
		if count >= 8 then
			count = count - 8;
			table.insert(bytes, string.char((bits >> count) & 0xFF));
			bits = bits & ((1 << count) - 1);
		end
	end
	return table.concat(bytes);
end

-- Returns the 56 characters of the onion that a name is, or is below; nil if it is no
-- onion of version 3. With sha3_256, which Prosody 13 has, a wrong checksum is seen as
-- well; without it Tor is who says so, before it builds any circuit.
function names.onion(name, sha3_256)
	local label = type(name) == "string" and #name <= 255 and name:match("^([^.]+)%.onion$")
		or type(name) == "string" and #name <= 255 and name:match("%.([^.]+)%.onion$");
	if not label or #label ~= 56 or label:find("[^a-z2-7]") then return nil; end
	local raw = from_base32(label);
	if raw:byte(35) ~= 3 then return nil; end
	if sha3_256 then
		local sum = sha3_256(".onion checksum"..raw:sub(1, 32)..raw:sub(35, 35));
		if sum:sub(1, 2) ~= raw:sub(33, 34) then return nil; end
	end
	return label;
end

return names;
