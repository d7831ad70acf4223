-- Server to server through Tor, between onions and with nobody else.
--
-- A global module for Prosody 0.12 and 13.0, with network_backend = "epoll". It covers
-- all hosts and components. mod_s2s does what it always does; this module
--   * is all that finds a server: the only place to go to is Tor's SOCKS port, the only
--     names are onions of version 3, and no part of Prosody can ask the DNS;
--   * speaks SOCKS5 before XMPP begins, and tries again for a while where that may help;
--   * tells in a bounce what Tor said;
--   * lets nobody else make us dial without bounds (s2s_onion_budget.lib.lua);
--   * refuses everybody who is no onion, or none of onion_peers.
-- An onion's name is its key, and dialback asks at that name: no certificate counts.
--
--   onion_socks        { "127.0.0.1", 9050 }; read at each dial, so a reload suffices
--   onion_federation   "open", "listed" (with onion_peers) or "off"
--   onion_peers        { } names of other servers; their sub-domains are meant as well
--   onion_patience, onion_answer_timeout, onion_confirm_timeout    seconds; see below
module:set_global();

local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local st, jid, errors, cache = lib "util.stanza", lib "util.jid", lib "util.error", lib "util.cache";
local filters, timer, gettime = lib "util.filters", lib "util.timer", lib "util.time".now;
local inet_pton, sha3_256 = lib "util.net".pton, lib "util.hashes".sha3_256;
local connect, manual = lib "net.connect".connect, lib "net.resolvers.manual";
local service, basic = lib "net.resolvers.service", lib "net.resolvers.basic";
local socks = module:require "s2s_onion_socks";
local budget = module:require "s2s_onion_budget";
local names = module:require "s2s_onion_names";
local watch = module:require "s2s_onion_watch";

local s2s_port = 5269; -- the virtual port of RFC 6120, section 14.7
local hosts = prosody.hosts;

-- Seconds for Tor to answer. By itself it gives up after 120; after 60 a sender may
-- still look, and mod_s2s, which gives a stream 90 in all, has not given up yet.
local function answer_timeout() return module:get_option_number("onion_answer_timeout", 60); end
-- Seconds during which a failed dial is tried again: as long as a server that restarts
-- needs, or a descriptor that was just uploaded. The stanzas wait meanwhile.
local function patience() return module:get_option_number("onion_patience", 30); end
-- Seconds for a peer to confirm what it was sent, by an answer over its own link to us,
-- which it may have to dial. A link that is silent for longer is given up.
local function confirm_timeout() return module:get_option_number("onion_confirm_timeout", 60); end
local question = "s2s-onion"; -- the id of what asks for that answer
local first_pause, longest_pause = 0.5, 8; -- seconds between two attempts
local gone_attempts = 3; -- a name that Tor knows nothing of seldom appears meanwhile
-- Stanzas that wait for one server: more is a flood, or a server that never comes.
local queue_limit = 500;
-- What one server has on its onion: the host itself, rooms, files, and room to grow.
local names_per_stream = 8;
-- Dials under way, waiting for that, and begun in a minute; and seconds in the line.
local budgets = {
	-- One of our own people writes, or the peer is somebody to whom they wrote. Nobody
	-- else can use this up.
	own = { at_once = 32; waiting = 256; per_minute = 600 };
	-- Our rooms and answers, to peers that were authenticated before.
	served = { at_once = 16; waiting = 128; per_minute = 240 };
	-- Somebody says that they are this onion, and we have to ask it.
	stranger = { at_once = 8; waiting = 32; per_minute = 60 };
};
local line_timeout = 30;
-- One account: contacts on a hundred servers at log-in, then one every half second.
local account_per_minute, accounts_counted = 120, 1000;
local sent_again_limit = 5000; -- messages that went a second time
local known_limit = 10000; -- onions to which our people wrote, forgotten at a restart

-- Who may be a peer ---------------------------------------------------------------------

local function own_onion(onion)
	for host in pairs(hosts) do
		if names.onion(host) == onion then return true; end
	end
	return false;
end

-- Returns the onion of a name that may be a peer, or nil and why it may not.
local function peer_onion(name)
	local onion = names.onion(name, sha3_256);
	if not onion then return nil, "This server reaches .onion servers only"; end
	if own_onion(onion) then return nil, "There is no such service on this server"; end
	local mode = module:get_option_string("onion_federation", "open");
	local peers = module:get_option_set("onion_peers", {});
	if mode == "open" or mode == "listed" and peers:contains(onion..".onion") then return onion; end
	return nil, "This server talks to few others, and this is none of them", "not-allowed";
end

local function bounce(event, kind, condition, text)
	local stanza, origin = event.stanza, event.origin;
	local is_answer = stanza.attr.type == "error" or stanza.attr.type == "result";
	if origin and origin.send and not is_answer and stanza.name ~= "db:verify" then
		origin.send(st.error_reply(stanza, kind, condition, text));
	end
	return true;
end

-- Counting ------------------------------------------------------------------------------

local places, minute = {}, {};
for class, limit in pairs(budgets) do
	places[class] = budget.places(limit.at_once, limit.waiting);
	minute[class] = budget.rate(limit.per_minute);
end
local account_rate = budget.rates(cache, accounts_counted, account_per_minute);
local known = cache.new(known_limit);
local sent_again = cache.new(sent_again_limit);

-- Returns on whose account a dial for this stanza goes.
local function class_of(event, onion)
	if known:get(onion) then return "own"; end
	if event.stanza.name == "db:verify" then return "stranger"; end
	return "served";
end

-- Whether one of our own people wants this.
local function is_own(event)
	return event.origin ~= nil and event.origin.type == "c2s";
end

-- Dialing -------------------------------------------------------------------------------

local dials = setmetatable({}, { __mode = "k" }); -- session -> what is known of its dial
local watches = setmetatable({}, { __mode = "k" }); -- session -> which messages it has
local next_dial; -- what route_to_new_session of mod_s2s is about to ask for
local dial = {};
dial.__index = dial;
local crowd = { text = "too many servers are being dialed" };

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
		if not self.begun and not self.session.destroyed then self:give_up(go, crowd); end
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
	local condition = problem == crowd and "resource-constraint"
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
				stopped, conn.listeners = true, theirs;
				filters.remove_filter(session, "bytes/out", hold);
				self:done();
				conn:write(table.concat(header));
				if value ~= "" then theirs.onincoming(conn, value); end
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

-- mod_s2s has connected to Tor, and is about to speak.
module:hook("s2s-created", function (event)
	local under_way = dials[event.session];
	if under_way then under_way:open(event.session.conn); end
end);

-- No name is looked up anywhere -----------------------------------------------------------

local service_new, basic_new = service.new, basic.new;
local function nowhere(why)
	local resolver = manual.new({});
	resolver.last_error = why;
	return resolver;
end
function service.new(name, srv, _, extra)
	local found = next_dial;
	if srv ~= "xmpp-server" or not found or found.session.to_host ~= name then
		return nowhere("only .onion servers are reached from here");
	end
	next_dial, found.extra = nil, extra;
	return found;
end
function basic.new(name, ...)
	if name == "localhost" or inet_pton(name or "") then return basic_new(name, ...); end
	module:log("warn", "A name was to be looked up in the DNS; it was not.");
	return nowhere("there is no DNS here");
end

local claimant; -- the stream whose claim is being looked at

-- Out: what may be sent -------------------------------------------------------------------

local function count_waiting(queue)
	if not queue then return 0; end
	return queue.count and queue.count() or #queue; -- 0.12 has a table there
end

-- Keeps a copy of a message until the peer has it. What waits for a dial is with mod_s2s
-- until then, which bounces it if it must.
local function keep_copy(session, stanza)
	if stanza.name ~= "message" then return; end
	local stream, under_way = watches[session], dials[session];
	if stream then
		stream.sends(st.clone(stanza));
	elseif under_way then
		table.insert(under_way.held, st.clone(stanza));
	end
end

-- Before mod_s2s looks for a session.
local function check_route(event)
	local onion, why, condition = peer_onion(event.to_host);
	if not onion then return bounce(event, "cancel", condition or "remote-server-not-found", why); end
	if is_own(event) then known:set(onion, true); end
	local session = hosts[event.from_host] and hosts[event.from_host].s2sout[event.to_host];
	if not session then return; end
	local stream = watches[session];
	if count_waiting(session.sendq) + (stream and stream.count() or 0) >= queue_limit then
		return bounce(event, "wait", "resource-constraint", "Too much waits for that server");
	end
	keep_copy(session, event.stanza);
end

-- After it found none, and before it dials.
local function check_dial(event)
	local onion, now = peer_onion(event.to_host), gettime();
	if not onion then return true; end
	local class = class_of(event, onion);
	local may = not is_own(event) or account_rate(jid.bare(event.stanza.attr.from), now);
	if not may or not places[class].has_room() or not minute[class](now) then
		if claimant and event.stanza.name == "db:verify" then
			claimant:close({ condition = "resource-constraint"; text = crowd.text });
		end
		return bounce(event, "wait", "resource-constraint", "Tor: "..crowd.text);
	end
	next_dial = setmetatable({
		onion = onion; places = places[class]; attempts = 0; pause = first_pause;
		first = event.stanza; held = {};
	}, dial);
end

local function begin_dial(event)
	local session, under_way = event.session, next_dial;
	if not under_way then return; end
	under_way.session, dials[session] = session, under_way;
	keep_copy(session, under_way.first);
	local theirs = session.bounce_sendq;
	function session.bounce_sendq(_, reason)
		local explained = under_way:explain(reason);
		theirs(session, explained);
		under_way:tell_claimants(explained);
	end
end

-- In: who is let in -----------------------------------------------------------------------

local function refuse(session, why, condition)
	session.log("debug", "refusing a peer");
	session:close({ condition = condition or "policy-violation"; text = why });
	return true;
end

-- Whether a name may be claimed on a stream: all on it are of one onion, so that a
-- stream makes us dial one server and not many.
local function check_claim(session, name)
	local onion, why = peer_onion(name);
	if not onion then return refuse(session, why); end
	session.onion = session.onion or onion;
	if session.onion ~= onion then return refuse(session, "Use one stream for each onion"); end
	session.onion_names = session.onion_names or {};
	if not session.onion_names[name] then
		session.onion_names[name], session.onion_count = true, (session.onion_count or 0) + 1;
	end
	if session.onion_count > names_per_stream then return refuse(session, "Too many names on one stream"); end
end

local function check_header(event)
	local session = event.origin;
	if session.direction ~= "incoming" or not session.from_host then return; end
	if not check_claim(session, session.from_host) then return; end
	event.features:tag("refused"):up(); -- mod_s2s would warn of a lack of features
	return true;
end

-- Before and after mod_dialback, which asks the onion that is claimed.
local function check_key(event)
	local session = event.origin;
	if session.direction ~= "incoming" then return; end
	claimant = session;
	return check_claim(session, event.stanza.attr.from and jid.prep(event.stanza.attr.from));
end

local function check_authenticated(event)
	local onion, why = peer_onion(event.host);
	if onion then return; end
	refuse(event.session, why);
	return false;
end

module:hook("s2s-check-certificate", function (event)
	if not event.host then return true; end
	local onion, why = peer_onion(event.host);
	if onion then return true; end -- the name is the key; dialback asks there
	refuse(event.session, why);
	return false;
end, 1000);

-- Links that break ------------------------------------------------------------------------

-- Asks the peer for an answer behind what it was just sent; see s2s_onion_watch.
local function ask_peer(session, stream, number)
	timer.add_task(0, function ()
		if session.destroyed then return; end
		stream.asks();
		session.sends2s(st.iq({
			type = "get"; id = question; from = session.from_host; to = session.to_host;
		}):tag("ping", { xmlns = "urn:xmpp:ping" }));
	end);
	timer.add_task(confirm_timeout(), function ()
		if session.destroyed or not stream.waits_since(number) then return; end
		session:close("connection-timeout");
	end);
end

local function begin_watch(event)
	local session, stream = event.session, nil;
	stream = watch.new(function (number) ask_peer(session, stream, number); end);
	watches[session] = stream;
	local under_way = dials[session];
	for _, message in ipairs(under_way and under_way.held or {}) do stream.sends(message); end
end

local function hear_answer(event)
	local attr = event.stanza.attr;
	if attr.id ~= question or attr.type ~= "result" and attr.type ~= "error" then return; end
	local session = hosts[attr.to] and hosts[attr.to].s2sout[attr.from];
	if session and watches[session] then watches[session].hears(); end
	return true;
end

-- A message that a peer did not confirm before the link broke goes over the next one,
-- once: a message that breaks links must not do so for ever. The peer's people may see
-- it twice; clients drop what they have seen, and OMEMO what was decrypted.
local function send_again(here, message)
	local attr = message.attr;
	local key = attr.id and table.concat({ attr.from, attr.to, attr.id }, "\0");
	if key and not sent_again:get(key) then
		sent_again:set(key, true);
		here:send(message);
	elseif attr.type ~= "error" then
		local why = "The link to that server broke before it confirmed the message";
		here:send(st.error_reply(message, "wait", "remote-server-timeout", why));
	end
end

local function end_watch(session)
	local stream = watches[session];
	if not stream then return; end
	watches[session] = nil;
	local here = module:context(session.from_host);
	for _, message in ipairs(stream.unconfirmed()) do send_again(here, message); end
end

module:hook("s2sout-established", begin_watch);
module:hook("s2s-destroyed", function (event)
	local under_way = dials[event.session];
	if under_way then under_way:done(); end
	end_watch(event.session);
end);

local function cover(host)
	local here = module:context(host);
	here:hook("route/remote", check_route, 1000);
	here:hook("route/remote", check_dial, -9); -- mod_s2s dials at -10
	here:hook("s2sout-created", begin_dial, 1000);
	here:hook("s2s-stream-features", check_header, 1000);
	here:hook("stanza/jabber:server:dialback:result", check_key, 1000);
	here:hook("s2s-authenticated", check_authenticated, 1000);
	here:hook("iq/host", hear_answer, 1000);
end
for host in pairs(hosts) do cover(host); end
module:hook("host-activated", cover);

function module.unload()
	service.new, basic.new = service_new, basic_new;
end
