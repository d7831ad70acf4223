-- What strangers from other servers may cost somebody here: messages, and requests to
-- become a contact. A new onion name costs nothing, so names alone bound nothing: there
-- is a ceiling for each sender, one for each server, and one for each recipient, which
-- holds whoever floods. Contacts are never counted. Who is refused is told so, and the
-- recipient can ask how often that was. Works on Prosody 0.12 and 13.0.
--
-- Accounts of this server are there by invitation and have ceilings of their own
-- (onion_circuits): their messages are not counted here, but their requests are.
local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local cache, jid, st = lib "util.cache", lib "util.jid", lib "util.stanza";
local timer, now = lib "util.timer", lib "util.time".now;
local rostermanager = lib "core.rostermanager";
local new_bucket = module:require "onion_circuits".bucket;

local xmlns = "urn:xmpp-onion:strangers:0";

-- Ceilings: prosody.cfg.lua gives the reasons ----------------------------------------

local function number(name, default) return module:get_option_number("stranger_"..name, default); end

local rates = {
	sender = { number("messages", 60), number("messages_per_minute", 6) / 60 };
	server = { number("server_messages", 300), number("server_messages_per_minute", 60) / 60 };
	recipient = { number("recipient_messages", 300), number("recipient_messages_per_minute", 60) / 60 };
	asking = { number("server_requests", 50), number("server_requests_per_hour", 50) / 3600 };
};
local most_away = number("messages_while_away", 200);
local most_requests = number("requests", 200);
local most_requests_of_server = number("requests_of_server", 50);
local unit_bytes = 16 * 1024; -- a message as large as this counts twice, and so on
local request_bytes = 2 * 1024; -- of a request; what is in a larger one is not kept

local buckets = cache.new(20000); -- kind and name -> bucket
local away = cache.new(20000); -- account -> how many came while nobody was there
local spoken = cache.new(20000); -- account and whom it wrote to of its own will
local refused = {}; -- account -> what the store does not know yet
local store = module:open_store("strangers");

local function take(kind, name, amount)
	local key = kind.."\0"..name;
	local bucket = buckets:get(key) or new_bucket(rates[kind][1], rates[kind][2], now());
	buckets:set(key, bucket);
	return bucket:take(amount, now());
end

-- The counter -----------------------------------------------------------------------

local function save(user)
	local news = refused[user];
	refused[user] = nil;
	local known = store:get(user) or {};
	for what, count in pairs(news or {}) do known[what] = (known[what] or 0) + count; end
	store:set(user, known);
	return known;
end

local function count(user, what)
	if not refused[user] then
		refused[user] = {};
		timer.add_task(60, function () -- one write a minute, however many come
			if refused[user] then save(user); end
		end);
	end
	refused[user][what] = (refused[user][what] or 0) + 1;
end

function module.unload()
	for user in pairs(refused) do save(user); end
end

module:hook("iq-get/self/"..xmlns..":strangers", function (event)
	local known = save(event.origin.username);
	event.origin.send(st.reply(event.stanza):tag("strangers", {
		xmlns = xmlns;
		requests = ("%d"):format(known.requests or 0);
		messages = ("%d"):format(known.messages or 0);
	}));
	return true;
end);
module:add_feature(xmlns);

-- Who is a stranger -------------------------------------------------------------------

local function is_here(host) return prosody.hosts[host] ~= nil; end

local function is_known(user, sender)
	local roster = rostermanager.load_roster(user, module.host);
	return roster and roster[sender] ~= nil or spoken:get(user.."\0"..sender) ~= nil;
end

-- Only what a person does: clients fetch keys and confirm by themselves.
local function is_wanted(stanza)
	local kind = stanza.attr.type;
	if stanza.name == "iq" then return kind == "set"; end
	if stanza.name == "presence" then return not kind or kind == "subscribe"; end
	if kind == "error" then return false; end
	if stanza:get_child("body") then return true; end
	for child in stanza:childtags("encrypted") do
		if child:get_child("payload", child.attr.xmlns) then return true; end
	end
	return false;
end

local function on_going(event)
	local user, receiver = event.origin.username, jid.bare(event.stanza.attr.to);
	if not user or not receiver or is_here((select(2, jid.split(receiver)))) then return; end
	if is_wanted(event.stanza) then spoken:set(user.."\0"..receiver, true); end
end
for _, kind in ipairs { "iq", "presence", "message" } do
	for _, place in ipairs { "bare", "full" } do
		module:hook("pre-"..kind.."/"..place, on_going, 200);
	end
end

-- What comes --------------------------------------------------------------------------

local function refuse(event, user, what)
	count(user, what);
	local reply = st.error_reply(event.stanza, "wait", "resource-constraint",
		"Too many strangers wrote to this account; ask it to add you as a contact");
	event.origin.send(reply);
	return true;
end

local function on_message(event)
	local stanza = event.stanza;
	local user = jid.node(stanza.attr.to);
	local sender = jid.bare(stanza.attr.from);
	local _, host = jid.split(sender);
	if not user or not host or is_here(host) or is_known(user, sender) then return; end
	if stanza.attr.type == "error" then return; end -- answers to what was said; never kept
	local amount = 1 + math.floor(#tostring(stanza) / unit_bytes);
	local account = user.."@"..module.host;
	local fine = take("sender", sender, amount) and take("server", host, amount)
		and take("recipient", user, amount);
	if fine and not prosody.bare_sessions[account] then
		local waiting = (away:get(account) or 0) + amount;
		fine = waiting <= most_away;
		if fine then away:set(account, waiting); end
	end
	if not fine then return refuse(event, user, "messages"); end
end
module:hook("message/bare", on_message, 90); -- behind mod_blocklist
module:hook("message/full", on_message, 90);

module:hook("resource-bind", function (event)
	away:set(event.session.username.."@"..module.host, nil);
end);

local function on_request(event)
	local stanza = event.stanza;
	if stanza.attr.type ~= "subscribe" then return; end
	local user = jid.node(stanza.attr.to);
	local sender = jid.bare(stanza.attr.from);
	local _, host = jid.split(sender);
	local roster = user and rostermanager.load_roster(user, module.host);
	if not roster or roster[sender] or not host then return; end
	local all, of_server = 0, 0;
	for waiting in pairs(roster[false].pending or {}) do
		if waiting == sender then return; end -- known: nothing is kept twice
		all = all + 1;
		if select(2, jid.split(waiting)) == host then of_server = of_server + 1; end
	end
	local here = is_here(host);
	if all >= most_requests or not here and (of_server >= most_requests_of_server
			or not take("asking", host.."\0"..user, 1)) then
		return refuse(event, user, "requests");
	end
	if #tostring(stanza) > request_bytes then
		stanza:maptags(function () return nil; end);
	end
end
module:hook("presence/bare", on_request, 90);
module:hook("presence/full", on_request, 90);
