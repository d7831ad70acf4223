-- Which messages a peer does not have for certain, when the link to it breaks, and what
-- becomes of them: they go once more over the next link, or back to who wrote them.
local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local st, cache, timer = lib "util.stanza", lib "util.cache", lib "util.timer";
local watch = module:require "s2s_onion_watch";

-- Seconds for a peer to confirm what it was sent, by an answer over its own link to us,
-- which it may have to dial. A link that is silent for longer is given up.
local function confirm_timeout() return module:get_option_number("onion_confirm_timeout", 60); end
local question = "s2s-onion"; -- the id of what asks for that answer
local sent_again_limit = 5000; -- messages that went a second time

local links = {};
local watches = setmetatable({}, { __mode = "k" }); -- session -> which messages it has
local sent_again = cache.new(sent_again_limit);

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

-- Begins to keep copies of what goes over a session, with the messages that waited for it.
function links.begin(session, waited)
	local stream;
	stream = watch.new(function (number) ask_peer(session, stream, number); end);
	watches[session] = stream;
	for _, message in ipairs(waited) do stream.sends(message); end
end

-- Keeps a copy of what is about to go over a session; returns false if none is kept yet.
function links.keep(session, message)
	local stream = watches[session];
	if stream then stream.sends(message); end
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
	if session and watches[session] then watches[session].hears(); end
	return true;
end

-- Sees to what a session that ended has left.
function links.close(session)
	local stream = watches[session];
	if not stream then return; end
	watches[session] = nil;
	local here = module:context(session.from_host);
	for _, message in ipairs(stream.unconfirmed()) do send_again(here, message); end
end

return links;
