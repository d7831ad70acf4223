-- What mod_s2s_onion says to Tor, without a server: the client's side of SOCKS5, as a
-- machine that is fed bytes and knows of no sockets.
--
-- Source: RFC 1928, RFC 1929; the codes from F0 on are Tor's (tor(1), ExtendedErrors).
local socks = {};
local char = string.char;

-- What a reply means. `again` says whether it may be over in a moment.
local problems = {
	[0x01] = { again = true; text = "the server does not answer" };
	[0x02] = { text = "Tor does not allow it" };
	[0x03] = { again = true; text = "the network is unreachable" };
	[0x04] = { again = true; text = "the onion service is unreachable" };
	[0x05] = { text = "the onion service takes no other servers" };
	[0x06] = { again = true; text = "the way there timed out" };
	[0x07] = { text = "the proxy does not know the command" };
	[0x08] = { text = "the proxy takes no names" };
	[0xF0] = { again = true; text = "there is no such onion service"; gone = true };
	[0xF1] = { text = "the descriptor of the onion service is invalid" };
	[0xF2] = { again = true; text = "the onion service is down" };
	[0xF3] = { again = true; text = "the meeting with the onion service failed" };
	[0xF4] = { text = "the onion service wants a key that we do not have" };
	[0xF5] = { text = "the onion service does not accept our key" };
	[0xF6] = { text = "there can be no such onion address" };
	[0xF7] = { again = true; text = "the onion service did not answer in time" };
	silence = { again = true; text = "Tor did not answer in time" };
	closed = { again = true; text = "Tor hung up" };
	absent = { again = true; text = "Tor is not there" };
	-- None of these mends itself.
	garbage = { text = "the proxy does not speak SOCKS5" };
	method = { text = "the proxy does not take our credentials" };
};

-- Returns what a reply code, or one of the words above, means.
function socks.problem(code)
	return problems[code] or { text = ("Tor answered with the unknown code %d"):format(code) };
end

-- How many bytes there are of a reply, by the kind of its address, or nil.
local function reply_size(kind, length)
	if kind == 1 then return 10; end
	if kind == 4 then return 22; end
	if kind == 3 then return 7 + length; end
end

-- Returns a new machine that wants to get to a name. Tor lets connections with the
-- same user and password, which may not be empty, share a circuit.
function socks.new(name, port, user, password)
	local machine, state, buffer = {}, "method", "";
	local step = {};

	function step.method()
		if #buffer < 2 then return; end
		local version, method = buffer:byte(1, 2);
		if version ~= 5 then return "failed", "garbage"; end
		if method ~= 2 then return "failed", "method"; end
		buffer, state = buffer:sub(3), "credentials";
		return "write", char(1, #user)..user..char(#password)..password;
	end

	function step.credentials()
		if #buffer < 2 then return; end
		if buffer:byte(2) ~= 0 then return "failed", "method"; end
		buffer, state = buffer:sub(3), "reply";
		return "write", char(5, 1, 0, 3, #name)..name..char(port // 256, port % 256);
	end

	function step.reply()
		-- Tor closes after a refusal, and a proxy may do so without the address.
		if #buffer < 2 then return; end
		local version, code, _, kind, length = buffer:byte(1, 5);
		if version ~= 5 then return "failed", "garbage"; end
		if code ~= 0 then return "failed", code; end
		if not length then return; end
		local size = reply_size(kind, length);
		if not size then return "failed", "garbage"; end
		if #buffer < size then return; end
		state = "open";
		return "open", buffer:sub(size + 1);
	end

	-- Returns the first bytes to send.
	function machine.greeting() return char(5, 1, 2); end

	-- Takes bytes in; returns nothing while more are needed, or one of
	--   "write", bytes to send · "open", bytes that came behind the reply
	--   "failed", a code for socks.problem()
	-- Feed it again, with "", after "write".
	function machine.feed(data)
		buffer = buffer..data;
		return step[state]();
	end

	return machine;
end

return socks;
