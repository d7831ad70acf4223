-- Which messages a peer does not have for certain, when the link to it breaks or we are
-- killed, and what becomes of them: they go again over the next link, or back to who
-- wrote them.
--
--   onion_keeps_waiting    whether what is on its way is on the disk meanwhile
local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local st, cache, timer, jid = lib "util.stanza", lib "util.cache", lib "util.timer", lib "util.jid";
local serialization = lib "util.serialization";
local journal = module:require "s2s_onion_journal";
local watch = module:require "s2s_onion_watch";

-- Seconds for a peer to confirm what it was sent, by an answer over its own link to us,
-- which it may have to dial. A link that is silent for longer is given up.
local function confirm_timeout() return module:get_option_number("onion_confirm_timeout", 60); end
local question = "s2s-onion"; -- the id of what asks for that answer
-- How often a message goes again, with us the same or started anew: a message that breaks
-- links or kills servers must not do so for ever.
local again_limit = 3;
local again_counted = 5000; -- messages of which that is known
-- Bytes on the disk: 500 stanzas for each of a few hundred peers; what is beyond waits in
-- memory alone.
local journal_limit = 64 * 1024 * 1024;

local links = {};
local watches = setmetatable({}, { __mode = "k" }); -- session -> which messages it has
local again = cache.new(again_counted); -- message -> how often it went again
local book, left; -- the journal, and what another process left in it
local tries = 0; -- how many processes had the message that is being sent
local is_stopping = false;

-- Whether a message is kept on the disk: what a person says, unless it is not to be kept
-- anywhere. What our rooms say is in their archives.
local function is_kept(message)
	local host = prosody.hosts[jid.host(message.attr.from)];
	return book and host and host.type == "local" and message.attr.type ~= "error"
		and not message:get_child("no-store", "urn:xmpp:hints")
		and not message:get_child("no-permanent-store", "urn:xmpp:hints");
end

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

-- Returns a copy of a message that is about to go, for the other functions. It is on the
-- disk until links.forget(), or until a peer has it.
function links.copy(message)
	local copy = { message = st.clone(message) };
	if is_kept(message) then
		copy.number = book.put(serialization.serialize(st.preserialize(message)), tries);
	end
	return copy;
end

-- Forgets a copy: its message has arrived, or somebody else sees to it.
function links.forget(copy)
	if book then book.drop(copy.number); end
end

-- Sends a message again, as often as that may be, or back. The peer's people may see it
-- twice; clients drop what they have seen, and OMEMO what was decrypted.
function links.again(copy)
	if is_stopping then return; end -- what is on the disk goes at the next start
	local message, attr = copy.message, copy.message.attr;
	local here = module:context(jid.host(attr.from));
	local key = attr.id and table.concat({ attr.from, attr.to, attr.id }, "\0");
	local times = key and again:get(key) or 0;
	if key and times < again_limit then
		again:set(key, times + 1);
		here:send(message);
	elseif attr.type ~= "error" then
		local why = "The link to that server broke before it confirmed the message";
		here:send(st.error_reply(message, "wait", "remote-server-timeout", why));
	end
	links.forget(copy); -- it has another copy now, or has gone back
end

-- Begins to watch what goes over a session, with copies of what waited for it.
function links.begin(session, copies)
	local stream;
	stream = watch.new(function (number) ask_peer(session, stream, number); end);
	watches[session] = stream;
	for _, copy in ipairs(copies) do stream.sends(copy); end
end

-- Takes a copy of what is about to go over a session; returns whether it is watched.
function links.keep(session, copy)
	local stream = watches[session];
	if stream then stream.sends(copy); end
	return stream ~= nil;
end

-- Returns how many messages the peer of a session has not confirmed.
function links.count(session)
	local stream = watches[session];
	return stream and stream.count() or 0;
end

-- Takes an answer in that came from a peer; returns whether it was to our question.
function links.hear(session, attr)
	if attr.id ~= question or attr.type ~= "result" and attr.type ~= "error" then return false; end
	local stream = session and watches[session];
	for _, copy in ipairs(stream and stream.hears() or {}) do links.forget(copy); end
	return true;
end

-- Sees to what a session that ended has left.
function links.close(session)
	local stream = watches[session];
	if not stream then return; end
	watches[session] = nil;
	for _, copy in ipairs(stream.unconfirmed()) do links.again(copy); end
end

-- Whether Prosody is ending in order.
function links.is_stopping() return is_stopping; end

-- Sends what a process before us had not got rid of.
local function send_left()
	for _, record in ipairs(left) do
		local message = st.deserialize(serialization.deserialize(record.text));
		local copy = { message = message; number = record.number };
		tries = record.tries + 1;
		local host = message and prosody.hosts[jid.host(message.attr.from)];
		if host and tries <= again_limit then
			links.again(copy);
		else
			links.forget(copy);
		end
		tries = 0;
	end
end

function links.open()
	if not module:get_option_boolean("onion_keeps_waiting", true) then return; end
	book, left = journal.open(prosody.paths.data.."/s2s_onion.waiting", journal_limit);
	timer.add_task(0, send_left); -- when all hosts are there
	module:hook("server-stopping", function () is_stopping = true; end, 1000);
end

function links.shut()
	if book then book.close(); end
end

return links;
