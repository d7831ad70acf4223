-- Strangers of other servers pay for a first word with work: a stamp of SHA-256, over
-- who writes to whom on which day. A name costs nothing on onions, and a server of a
-- thousand names not much more; a stamp costs the same for each of them.
--
-- Nothing is asked of contacts, of whoever our user wrote to before, of this server's
-- own people, or of who has an invite to be a contact (XEP-0379). Who brings no stamp
-- is told what it costs, in words and for programs. Works on Prosody 0.12 and 13.0.
--
--   <message ...><stamp xmlns='urn:xmpp-onion:stamp:0' day='2026-11-26' nonce='...'/>
--   <iq type='get' to='the server'><stamp xmlns='urn:xmpp-onion:stamp:0'/></iq>
--     is answered with <stamp xmlns='urn:xmpp-onion:stamp:0' bits='18'/>
local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local jid, st, cache = lib "util.jid", lib "util.stanza", lib "util.cache";
local sha256 = lib "util.hashes".sha256;
local rostermanager = lib "core.rostermanager";
local invites = module:depends "invites";
local stamps = module:require "stamps";

local xmlns = "urn:xmpp-onion:stamp:0";

-- How many zero bits a stamp begins with; each doubles the work. 0 asks for nothing.
local bits = module:get_option_number("stamp_bits", 18);

module:add_feature(xmlns);

-- Who need not pay -------------------------------------------------------------------

local function is_here(host) return prosody.hosts[host] ~= nil; end

-- Whom somebody here wrote to lately: answers come without a stamp. In memory only, and
-- as much of it as all people of a big server write to in a day.
local spoken = cache.new(20000);

local function on_going(event)
	local user, receiver = event.origin.username, jid.bare(event.stanza.attr.to);
	local _, host = jid.split(receiver);
	if user and host and not is_here(host) and event.stanza.attr.type ~= "error" then
		spoken:set(user.."\0"..receiver, true);
	end
end
module:hook("pre-message/bare", on_going, 200);
module:hook("pre-message/full", on_going, 200);

-- Somebody who is in a room of another server showed their presence there.
local function is_in_room(stanza)
	local session = prosody.full_sessions[stanza.attr.to];
	for place in pairs(session and session.directed or {}) do
		if jid.bare(place) == jid.bare(stanza.attr.from) then return true; end
	end
	return false;
end

local function is_known(user, sender, stanza)
	local roster = rostermanager.load_roster(user, module.host);
	return roster and roster[sender] ~= nil
		or spoken:get(user.."\0"..sender) ~= nil
		or is_in_room(stanza);
end

local function is_invited(user, stanza)
	local shown = stanza:get_child("preauth", "urn:xmpp:pars:0");
	if not shown or not shown.attr.token then return false; end
	-- 0.12.3 raises an error for a contact's token that lets nobody register.
	local fine, invite = pcall(invites.get, shown.attr.token, user);
	return fine and invite and true;
end

-- What comes ---------------------------------------------------------------------------

local function check(event)
	local stanza = event.stanza;
	local user = jid.node(stanza.attr.to);
	local sender = jid.bare(stanza.attr.from);
	local _, host = jid.split(sender);
	if bits <= 0 or not user or not host or is_here(host) then return; end
	if is_known(user, sender, stanza) or is_invited(user, stanza) then return; end
	local stamp = stanza:get_child("stamp", xmlns);
	local why = "no stamp";
	if stamp then
		local text = stamps.text(sender, user.."@"..module.host, stamp.attr);
		if not stamps.is_timely(stamp.attr.day, os.time()) then
			why = "a stamp of another day";
		elseif not text or not stamps.is_worth(sha256(text, true), bits) then
			why = "a stamp that costs less, or for somebody else";
		else
			return;
		end
	end
	local reply = st.error_reply(stanza, "modify", "policy-violation", "Strangers need a "
		.."stamp of "..bits.." bits here ("..xmlns.."), and this has "..why
		..". Ask this person to add you as a contact first, or for an invite.");
	reply:tag("stamp", { xmlns = xmlns; bits = tostring(bits) }):up();
	event.origin.send(reply);
	return true;
end

local function on_message(event)
	if event.stanza.attr.type == "error" then return; end -- never kept
	return check(event);
end
module:hook("message/bare", on_message, 95); -- behind mod_blocklist
module:hook("message/full", on_message, 95);

local function on_presence(event)
	local stanza = event.stanza;
	if stanza.attr.type ~= "subscribe" then return; end
	local user, sender = jid.node(stanza.attr.to), jid.bare(stanza.attr.from);
	-- One that waits was paid for. Prosody repeats it at each log-in, without a stamp.
	if user and rostermanager.is_contact_pending_in(user, module.host, sender) then return; end
	return check(event);
end
module:hook("presence/bare", on_presence, 95);
module:hook("presence/full", on_presence, 95);

module:hook("iq-get/host/"..xmlns..":stamp", function (event)
	local answer = st.reply(event.stanza):tag("stamp", { xmlns = xmlns; bits = tostring(bits) });
	event.origin.send(answer);
	return true;
end);
