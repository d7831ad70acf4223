-- Server to server through Tor, between onions and with nobody else.
--
-- A global module for Prosody 0.12 and 13.0, with network_backend = "epoll". It covers
-- all hosts and components. mod_s2s does what it always does; this module
--   * is all that finds a server: the only place to go to is Tor's SOCKS port, the only
--     names are onions of version 3, and no part of Prosody can ask the DNS;
--   * speaks SOCKS5 before XMPP begins, and tries again for a while where that may help;
--   * tells in a bounce what Tor said (for all of it: s2s_onion_dial.lib.lua);
--   * loses nothing that was under way when a circuit breaks (s2s_onion_links.lib.lua);
--   * lets nobody else make us dial without bounds (s2s_onion_budget.lib.lua);
--   * refuses everybody who is no onion, or none of onion_peers.
-- An onion's name is its key, and dialback asks at that name: no certificate counts.
--
--   onion_socks        { "127.0.0.1", 9050 }; read at each dial, so a reload suffices
--   onion_federation   "open", "listed" (with onion_peers) or "off"
--   onion_peers        { } names of other servers; their sub-domains are meant as well
--   onion_patience, onion_answer_timeout, onion_confirm_timeout    seconds; see the
--                      libraries
module:set_global();

local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local st, jid, cache = lib "util.stanza", lib "util.jid", lib "util.cache";
local gettime, inet_pton = lib "util.time".now, lib "util.net".pton;
local sha3_256, manual = lib "util.hashes".sha3_256, lib "net.resolvers.manual";
local service, basic = lib "net.resolvers.service", lib "net.resolvers.basic";
local budget = module:require "s2s_onion_budget";
local names = module:require "s2s_onion_names";
local dial = module:require "s2s_onion_dial";
local links = module:require "s2s_onion_links";

local hosts = prosody.hosts;

-- Stanzas that wait for one server: more is a flood, or a server that never comes.
local queue_limit = 500;
-- What one server has on its onion: the host itself, rooms, files, and room to grow.
local names_per_stream = 8;
-- Dials under way, waiting for that, and begun in a minute.
local budgets = {
	-- One of our own people writes, or the peer is somebody to whom they wrote. Nobody
	-- else can use this up.
	own = { at_once = 32; waiting = 256; per_minute = 600 };
	-- Our rooms and answers, to peers that were authenticated before.
	served = { at_once = 16; waiting = 128; per_minute = 240 };
	-- Somebody says that they are this onion, and we have to ask it.
	stranger = { at_once = 8; waiting = 32; per_minute = 60 };
};
-- One account: contacts on a hundred servers at log-in, then one every half second.
local account_per_minute, accounts_counted = 120, 1000;
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
local next_dial; -- what route_to_new_session of mod_s2s is about to ask for

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
	local copy, under_way = links.copy(stanza), dials[session];
	if links.keep(session, copy) then return; end
	if under_way then table.insert(under_way.held, copy); else links.forget(copy); end
end

-- Takes the messages out of what mod_s2s would bounce, and leaves the rest.
local function take_messages(queue)
	if not queue.consume then -- 0.12: each with the answer that would be the bounce
		for place = #queue, 1, -1 do
			local answer = queue[place][2];
			if answer and answer.name == "message" then table.remove(queue, place); end
		end
		return;
	end
	local others = {};
	for stanza in queue:consume() do
		if stanza.name ~= "message" then table.insert(others, stanza); end
	end
	for _, stanza in ipairs(others) do queue:push(stanza); end
end

-- Before mod_s2s looks for a session.
local function check_route(event)
	local onion, why, condition = peer_onion(event.to_host);
	if not onion then return bounce(event, "cancel", condition or "remote-server-not-found", why); end
	if is_own(event) then known:set(onion, true); end
	local session = hosts[event.from_host] and hosts[event.from_host].s2sout[event.to_host];
	if not session then return; end
	if count_waiting(session.sendq) + links.count(session) >= queue_limit then
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
			claimant:close({ condition = "resource-constraint"; text = dial.crowd.text });
		end
		return bounce(event, "wait", "resource-constraint", "Tor: "..dial.crowd.text);
	end
	next_dial = dial.new(onion, places[class], event.stanza);
end

local function begin_dial(event)
	local session, under_way = event.session, next_dial;
	if not under_way then return; end
	under_way.session, dials[session] = session, under_way;
	keep_copy(session, under_way.first);
	local theirs = session.bounce_sendq;
	function session.bounce_sendq(_, reason)
		if links.is_stopping() then session.sendq = nil; return; end
		local held, explained = under_way.held, under_way:explain(reason);
		under_way.held = {};
		if under_way.broke and session.sendq then take_messages(session.sendq); end
		theirs(session, explained);
		for _, copy in ipairs(held) do
			if under_way.broke then links.again(copy); else links.forget(copy); end
		end
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

module:hook("s2sout-established", function (event)
	local under_way = dials[event.session];
	links.begin(event.session, under_way and under_way.held or {});
	if under_way then under_way.held = {}; end
end);
module:hook("s2s-destroyed", function (event)
	local under_way = dials[event.session];
	if under_way then under_way:done(); end
	links.close(event.session);
end);
local function hear_answer(event)
	local attr = event.stanza.attr;
	local link = hosts[attr.to] and hosts[attr.to].s2sout[attr.from];
	return links.hear(link, attr) or nil;
end

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

links.open();
function module.unload()
	links.shut();
	service.new, basic.new = service_new, basic_new;
end
