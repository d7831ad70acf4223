-- One dial of mod_s2s_onion: the way to a peer through Tor, tried again for a while. To
-- net.connect it is a resolver, whose only place to go to is Tor's SOCKS port.
local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local errors, filters, timer = lib "util.error", lib "util.filters", lib "util.timer";
local gettime, inet_pton = lib "util.time".now, lib "util.net".pton;
local connect = lib "net.connect".connect;
local socks = module:require "s2s_onion_socks";
local names = module:require "s2s_onion_names";

local s2s_port = 5269; -- the virtual port of RFC 6120, section 14.7
-- Seconds for Tor to answer. By itself it gives up after 120; after 60 a sender may
-- still look, and mod_s2s, which gives a stream 90 in all, has not given up yet.
local function answer_timeout() return module:get_option_number("onion_answer_timeout", 60); end
-- Seconds during which a failed dial is tried again: as long as a server that restarts
-- needs, or a descriptor that was just uploaded. The stanzas wait meanwhile.
local function patience() return module:get_option_number("onion_patience", 30); end
local first_pause, longest_pause = 0.5, 8; -- seconds between two attempts
local gone_attempts = 3; -- a name that Tor knows nothing of seldom appears meanwhile
local line_timeout = 30; -- seconds in the line

local dial = { crowd = { text = "too many servers are being dialed" } };
dial.__index = dial;

-- Returns a dial to an onion that nothing was done for yet.
--   places  the budget that it takes a place of (s2s_onion_budget.lib.lua)
--   first   the stanza that it is for
function dial.new(onion, places, first)
	return setmetatable({
		onion = onion; places = places; attempts = 0; pause = first_pause;
		first = first; held = {};
	}, dial);
end

function dial:target()
	local place = module:get_option_array("onion_socks", { "127.0.0.1", 9050 });
	local host, port = place[1], tonumber(place[2]);
	local is_ip6 = host:find(":", 1, true);
	assert(port and inet_pton(host), "onion_socks is an IP address and a port");
	return is_ip6 and "tcp6" or "tcp4", host, port, self.extra;
end

-- net.connect asks for the first place to dial, and again after a failure.
function dial:next(go)
	local session = self.session;
	if session.destroyed then return go(nil); end
	if not self.ticket then return self:begin(go); end
	-- Nothing was said since the attempt: Tor's port did not even answer.
	self.problem = self.problem or socks.problem("absent");
	local late = gettime() - self.begun + self.pause > patience();
	local most = self.problem.gone and gone_attempts or math.huge;
	if late or not self.problem.again or self.attempts >= most then
		return self:give_up(go, self.problem);
	end
	timer.add_task(self.pause, function ()
		if session.destroyed then return go(nil); end
		self.pause = math.min(longest_pause, self.pause * 2);
		self:attempt(go);
	end);
end

function dial:begin(go)
	self.ticket = { go = function ()
		self.begun = gettime();
		self:attempt(go);
	end };
	timer.add_task(line_timeout, function ()
		if not self.begun and not self.session.destroyed then self:give_up(go, dial.crowd); end
	end);
	self.places.enter(self.ticket);
end

function dial:attempt(go)
	self.attempts, self.problem = self.attempts + 1, nil;
	go(self:target());
end

function dial:give_up(go, problem)
	self.problem, self.last_error = problem, problem.text;
	self:done();
	go(nil);
end

function dial:done()
	if self.ticket then self.places.leave(self.ticket); end
end

-- What is bounced, if it comes to that. Without a problem of the dial mod_s2s knows.
function dial:explain(reason)
	local problem = self.problem;
	if not problem then return reason; end
	local condition = problem == dial.crowd and "resource-constraint"
		or problem.again and not problem.gone and "remote-server-timeout"
		or "remote-server-not-found";
	return errors.new({
		type = condition == "remote-server-not-found" and "cancel" or "wait";
		condition = condition;
		text = "Tor: "..problem.text;
	});
end

-- Whoever claimed to be that server need not wait for our question to come back.
function dial:tell_claimants(reason)
	if not self.problem then return; end
	local from, name = self.session.from_host, self.session.to_host;
	for session in pairs(prosody.incoming_s2s) do
		if session.type == "s2sin_unauthed" and session.to_host == from
			and session.onion_names and session.onion_names[name] then
			session:close({ condition = "remote-connection-failed"; text = reason.text });
		end
	end
end

-- Returns what listens to a peer that was reached. Until it has said something, an end is
-- one more attempt that failed; after that what was to go to it may go over another link.
function dial:listeners(theirs, fail)
	local reached = setmetatable({}, { __index = theirs });
	function reached.onincoming(conn, data)
		reached.onincoming = nil;
		return theirs.onincoming(conn, data);
	end
	function reached.ondisconnect(conn, err)
		if self.session.destroyed then return theirs.ondisconnect(conn, err); end -- by us
		if rawget(reached, "onincoming") then return fail(0x01); end
		self.broke = true;
		return theirs.ondisconnect(conn, err);
	end
	return reached;
end

-- Takes over the connection to Tor until it leads to the peer, and gives it back then.
function dial:open(conn)
	local session, theirs, stopped = self.session, conn.listeners, false;
	-- A second attempt has a user of its own, because a circuit may be what is stuck.
	local user = names.onion(session.from_host) or session.from_host;
	local machine = socks.new(session.to_host, s2s_port, user, self.onion.." "..self.attempts);
	local ours, header = {}, {};

	local function hold(data) table.insert(header, data); end
	local function fail(word)
		if stopped then return; end
		stopped, self.problem = true, socks.problem(word);
		if session.destroyed then return; end
		session.log("debug", "attempt %d failed: %s", self.attempts, self.problem.text);
		if session.connect_timeout then timer.stop(session.connect_timeout); end
		theirs.ondetach(conn);
		conn.listeners = {};
		conn:close();
		session.conn, session.filters, session.filter = nil, nil, nil;
		connect(self, theirs, nil, { session = session });
	end

	function ours.onincoming(_, data)
		while not stopped do
			local what, value = machine.feed(data);
			if what == "write" then
				conn:write(value);
				data = "";
			elseif what == "failed" then
				return fail(value);
			elseif what == "open" then
				stopped = true;
				conn.listeners = self:listeners(theirs, function (code)
					stopped = false;
					fail(code);
				end);
				filters.remove_filter(session, "bytes/out", hold);
				self:done();
				conn:write(table.concat(header));
				if value ~= "" then conn.listeners.onincoming(conn, value); end
			else
				return;
			end
		end
	end
	function ours.ondisconnect()
		if session.destroyed then return theirs.ondisconnect(conn); end -- closed by us
		fail("closed");
	end
	function ours.ondetach() theirs.ondetach(conn); end

	filters.add_filter(session, "bytes/out", hold, 1000);
	conn.listeners = ours;
	timer.add_task(answer_timeout(), function () fail("silence"); end);
	conn:write(machine.greeting());
end

return dial;
