-- Limits for people who have no address. Whoever comes through Tor is 127.0.0.1, so
-- what is counted here is the circuit: Tor names it in a line before each connection
-- (HiddenServiceExportCircuitID haproxy). Who asks too much of one circuit loses all
-- of it, and nobody else does.
--
-- One port for all services of the onion: the line also says which port was asked
-- for. Below XMPP, so that TLS, SASL and stream management know nothing of it. Works
-- on Prosody 0.12 and 13.0.
module:set_global();

local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local cache, filters, st = lib "util.cache", lib "util.filters", lib "util.stanza";
local timer, now = lib "util.timer", lib "util.time".now;
local portmanager, server = lib "core.portmanager", lib "net.server";
local tor = module:require "onion_circuits";

-- Ceilings ------------------------------------------------------------------------

local function number(name, default) return module:get_option_number("onion_"..name, default); end

-- prosody.cfg.lua gives the reasons. Each of the rates is one bucket for a circuit.
local most_connections = number("circuit_connections", 32);
local most_unauthenticated = number("circuit_unauthenticated", 8);
local rates = {
	["new connections"] = { number("circuit_connection_burst", 120), number("circuit_connections_per_second", 2) };
	["failed log-ins"] = { number("circuit_failed_logins", 10), 1 / 60 };
	["registrations"] = { number("circuit_registrations", 10), 1 / 60 };
	["stanzas"] = { number("circuit_stanza_burst", 1000), number("circuit_stanzas_per_second", 200) };
	["stanzas of a server"] = { number("circuit_s2s_stanza_burst", 5000), number("circuit_s2s_stanzas_per_second", 500) };
	["bytes of an account"] = { number("account_byte_burst", 1024 * 1024 * 1024), number("account_bytes_per_second", 12 * 1024) };
	["bytes"] = { number("circuit_byte_burst", 64 * 1024 * 1024), number("circuit_bytes_per_second", 8 * 1024 * 1024) };
};
local all_unauthenticated = number("unauthenticated_connections", 1000);
local unauthenticated_bytes = number("unauthenticated_bytes", 64 * 1024);
local line_timeout = 10; -- seconds; Tor writes its line at once

local services = module:get_option("onion_services", {
	[5222] = "c2s"; [5269] = "s2s"; [5280] = "http"; [80] = "http"; [443] = "https";
});

-- Circuits and accounts -------------------------------------------------------------

local active = { }; -- number -> circuit with connections
local idle = cache.new(10000); -- those without, the oldest of them are forgotten
local idle_seconds = 3600; -- by then Tor may have been restarted, and count anew
local accounts = cache.new(10000); -- bare JID -> bucket, for all circuits together
local circuit_of = setmetatable({}, { __mode = "k" }); -- connection -> circuit
local watchers = setmetatable({}, { __mode = "k" }); -- who closes circuits for us
local cut = { }; -- how often each ceiling was met

local function find(id)
	local circuit = active[id] or idle:get(id);
	if not circuit or circuit.left and now() - circuit.left > idle_seconds then
		circuit = { id = id; connections = {}; count = 0; unauthenticated = 0; buckets = {} };
	end
	idle:set(id, nil);
	active[id], circuit.left = circuit, nil;
	return circuit;
end

local function bucket_of(holder, what)
	local bucket = holder.buckets[what];
	if not bucket then
		bucket = tor.bucket(rates[what][1], rates[what][2], now());
		holder.buckets[what] = bucket;
	end
	return bucket;
end

local function take(holder, what, amount)
	return bucket_of(holder, what):take(amount or 1, now());
end

local c2s_sessions, s2s_sessions = module:shared("/*/c2s/sessions"), module:shared("/*/s2s/sessions");

local function close(conn, condition, text)
	local session = c2s_sessions[conn] or s2s_sessions[conn];
	if not session or session.destroyed then return conn:close(); end
	session:close({ condition = condition; text = text });
end

-- Ends everything that came through a circuit, and asks for its end.
local function cut_circuit(circuit, what)
	if circuit.is_cut then return; end
	circuit.is_cut = true;
	cut[what] = (cut[what] or 0) + 1;
	module:log("warn", "A circuit was cut: too many %s", what);
	for watcher in pairs(watchers) do
		watcher.send(st.stanza("onion-circuit"):text(("%d"):format(circuit.id)));
	end
	for conn in pairs(circuit.connections) do
		close(conn, "policy-violation", "Too many "..what);
	end
end

-- Counts something, and tells whether it was too much.
local function is_too_much(circuit, what, amount)
	if not circuit.is_cut and take(circuit, what, amount) then return false; end
	cut_circuit(circuit, what);
	return true;
end

-- Who has not said yet who it is ----------------------------------------------------

-- Of all circuits together, for circuits cost an attacker something, but not much. In
-- the order in which they came: place -> connection.
local waiting, first, last, waiting_count = { }, 1, 0, 0;
local place_of = setmetatable({}, { __mode = "k" });
local said_of = setmetatable({}, { __mode = "k" }); -- how many bytes each of them said

local function known(conn)
	local place = place_of[conn];
	if not place then return; end
	place_of[conn], said_of[conn] = nil, nil;
	waiting[place], waiting_count = nil, waiting_count - 1;
	local circuit = circuit_of[conn];
	circuit.unauthenticated = circuit.unauthenticated - 1;
end

local function await(conn)
	last, waiting_count = last + 1, waiting_count + 1;
	waiting[last], place_of[conn] = conn, last;
	local circuit = circuit_of[conn];
	circuit.unauthenticated = circuit.unauthenticated + 1;
	if circuit.unauthenticated > most_unauthenticated then
		return cut_circuit(circuit, "connections without a log-in");
	end
	if waiting_count <= all_unauthenticated then return; end
	while not waiting[first] do first = first + 1; end
	local oldest = waiting[first];
	known(oldest);
	close(oldest, "resource-constraint", "Too many wait to log in");
end

local function account_of(session)
	local account = session.username.."@"..session.host;
	local holder = accounts:get(account);
	if not holder then
		holder = { buckets = {} };
		accounts:set(account, holder);
	end
	return holder;
end

-- Connections -------------------------------------------------------------------------

local function leave(conn)
	local circuit = circuit_of[conn];
	if not circuit or not circuit.connections[conn] then return; end
	known(conn);
	circuit.connections[conn], circuit.count = nil, circuit.count - 1;
	if circuit.count > 0 then return; end
	active[circuit.id], circuit.left = nil, now();
	idle:set(circuit.id, circuit);
end

local function enter(conn, circuit)
	circuit_of[conn] = circuit;
	circuit.connections[conn], circuit.count = true, circuit.count + 1;
	if is_too_much(circuit, "new connections") then return false; end
	if circuit.count > most_connections then cut_circuit(circuit, "connections"); end
	return not circuit.is_cut;
end

-- Who asks for acks waits for them, and so goes as slowly as we read: such a client is
-- held back before it comes to a ceiling. It may have sent 256 stanzas without asking.
local paces = setmetatable({}, { __mode = "k" }); -- connection -> how it goes
local unasked_stanzas = 256;

local function keep_pace(conn, bytes)
	local pace = paces[conn];
	if not pace then return; end
	local cost = pace.cost;
	pace.cost = 0;
	if pace.is_low and pace.unasked <= unasked_stanzas and cost > 0 then
		-- Prosody pauses after each reading for as long as this rate gives its bytes.
		conn:setlimit(bytes * 0.8 * rates["stanzas"][2] / cost);
	elseif conn.conn then -- not closed meanwhile
		conn._limit = pace.normal;
	end
end

-- Who has logged in has a day's worth; who has not says little.
local function is_too_much_for_who_it_is(conn, bytes)
	if place_of[conn] then
		said_of[conn] = (said_of[conn] or 0) + bytes;
		if said_of[conn] <= unauthenticated_bytes then return false; end
		cut_circuit(circuit_of[conn], "bytes without a log-in");
		return true;
	end
	local session = c2s_sessions[conn];
	if not session or not session.username then return false; end
	if take(account_of(session), "bytes of an account", bytes) then return false; end
	cut_circuit(circuit_of[conn], "bytes of an account");
	return true;
end

-- A listener that is another one, but for what has to be counted.
local watched = setmetatable({}, { __mode = "k" });
local function watch(listener)
	if watched[listener] then return watched[listener]; end
	local watching = setmetatable({}, { __index = listener });
	function watching.ondisconnect(conn, ...)
		leave(conn);
		if listener.ondisconnect then return listener.ondisconnect(conn, ...); end
	end
	function watching.onincoming(conn, data, ...)
		if data and (is_too_much(circuit_of[conn], "bytes", #data)
			or is_too_much_for_who_it_is(conn, #data)) then return; end
		listener.onincoming(conn, data, ...);
		if data then keep_pace(conn, #data); end
	end
	watched[listener] = watching;
	return watching;
end

-- TLS from the first byte cannot begin with what was read already: such a connection
-- goes on through a second one, to the port of that service.
local function pipe(conn, service, data)
	local port;
	for _, _, active_port in portmanager.get_active_services():iter(service.name, nil, nil, nil) do
		port = active_port;
	end
	if not port then return conn:close(); end
	local far, outer = nil, { };
	local inner = { onconnect = function () end };
	function inner.onincoming(_, answer) conn:write(answer); end
	function inner.ondisconnect() conn:close(); end
	function outer.onincoming(_, more) far:write(more); end
	function outer.ondisconnect() far:close(); end
	far = server.addclient("127.0.0.1", tonumber(port), inner, "*a");
	if not far then return conn:close(); end
	conn:setlistener(watch(outer));
	if #data > 0 then far:write(data); end
end

local function hand_over(conn, id, virtual, data)
	local service = portmanager.get_service(services[virtual] or "");
	if not service or not enter(conn, find(id)) then
		leave(conn);
		return conn:close();
	end
	if service.encryption == "ssl" then return pipe(conn, service, data); end
	local listener = watch(service.listener);
	conn:setlistener(listener);
	if listener.default_mode then conn:set_mode(listener.default_mode); end
	if service.name == "c2s" or service.name == "s2s" then
		await(conn);
		if circuit_of[conn].is_cut then leave(conn); return conn:close(); end
	end
	if listener.onconnect then listener.onconnect(conn); end
	if #data > 0 then return listener.onincoming(conn, data); end
end

local expected = { }; -- connection -> what has come of its line
local listener = { };

function listener.onconnect(conn)
	if conn:ip() ~= "127.0.0.1" then return conn:close(); end
	expected[conn] = "";
	timer.add_task(line_timeout, function ()
		if expected[conn] then conn:close(); end
	end);
end

function listener.onincoming(conn, data)
	if not expected[conn] then return; end
	data = expected[conn]..data;
	local ends, after = data:find("\r\n", 1, true);
	if not ends then
		if #data > tor.longest_line then return conn:close(); end
		expected[conn] = data;
		return;
	end
	expected[conn] = nil;
	local id, virtual = tor.read(data:sub(1, ends - 1));
	if not id then return conn:close(); end
	return hand_over(conn, id, virtual, data:sub(after + 1));
end

function listener.ondisconnect(conn) expected[conn] = nil; end

module:provides("net", { name = "onion_circuits"; listener = listener; private = true });

-- What passes ---------------------------------------------------------------------------

-- What one costs: a message is kept for two, a presence goes to many. Where nothing else
-- is said it is an answer or a question about acks, which is no work, but not nothing.
local costs = { message = 4; presence = 4; iq = 1 };
local attempts = { ["jabber:iq:register"] = true; ["urn:xmpp:pars:0"] = true };

local function is_attempt(stanza)
	local child = stanza.name == "iq" and stanza.attr.type == "set" and stanza.tags[1];
	return child and attempts[child.attr.xmlns];
end

local function is_low(bucket) return bucket.level < bucket.size * 0.4; end

local function note_pace(session, stanza, cost)
	local conn = session.conn;
	local pace = paces[conn] or { normal = conn._limit; cost = 0; unasked = math.huge };
	paces[conn] = pace;
	pace.cost = pace.cost + cost;
	pace.unasked = session.smacks and stanza.name == "r" and 0 or pace.unasked + 1;
	pace.is_low = is_low(bucket_of(circuit_of[conn], "stanzas"))
		or is_low(bucket_of(account_of(session), "stanzas"));
end

local function on_stanza(stanza, session)
	local circuit = session.conn and circuit_of[session.conn];
	if not circuit or session.destroyed then return stanza; end
	local cost = costs[stanza.name] or 0.25;
	local kind = session.type:find("^s2s") and "stanzas of a server" or "stanzas";
	if is_too_much(circuit, kind, cost) then return stanza; end
	if session.type == "c2s" and session.username then
		local account = account_of(session);
		if not take(account, kind, cost) then
			cut_circuit(circuit, kind);
		elseif is_attempt(stanza) and not take(account, "registrations") then
			cut_circuit(circuit, "registrations"); -- a password is set: 23 ms of work
		else
			note_pace(session, stanza, cost);
		end
	elseif session.type == "c2s_unauthed" and is_attempt(stanza) then
		is_too_much(circuit, "registrations");
	end
	return stanza; -- a session that was closed drops it
end

local function on_session(session)
	if session.conn and circuit_of[session.conn] then
		filters.add_filter(session, "stanzas/in", on_stanza, 1000);
	end
end

local function on_success(event)
	if event.session.conn then known(event.session.conn); end
end

function module.load() filters.add_filter_hook(on_session); end
function module.unload() filters.remove_filter_hook(on_session); end

local function watch_host(host)
	local there = module:context(host);
	there:hook("authentication-success", on_success);
	there:hook("s2sin-established", on_success);
	there:hook("authentication-failure", function (event)
		local circuit = event.session.conn and circuit_of[event.session.conn];
		if circuit then is_too_much(circuit, "failed log-ins"); end
	end);
end
module:hook("host-activated", watch_host);
for host in pairs(prosody.hosts) do watch_host(host); end

-- Who closes circuits ---------------------------------------------------------------------

-- At the admin socket: whoever sends <onion-circuits/> is told the number of each
-- circuit that was cut, in an <onion-circuit/>, for as long as the connection lasts.
module:hook("admin/onion-circuits", function (event)
	watchers[event.origin] = true;
	event.origin.send(st.stanza("onion-circuits"));
	return true;
end);

-- For the admin console: what there is, as numbers.
function state()
	local circuits, connections = 0, 0;
	for _, circuit in pairs(active) do
		circuits, connections = circuits + 1, connections + circuit.count;
	end
	return { circuits = circuits; connections = connections; waiting = waiting_count; cut = cut };
end
