-- What one account may have here. Who was invited may still fill a disk or a memory,
-- with things that none of Prosody's own limits count: contacts, nodes and what private
-- storage has, and sessions that wait for a circuit that never comes back. Whoever asks
-- for more is told so; what is there stays. Works on Prosody 0.12 and 13.0.
--
-- What goes through a session is counted in mod_onion_circuits.
local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local jid, st = lib "util.jid", lib "util.stanza";
local get_service = module:depends "pep".get_pep_service;

-- Ceilings: prosody.cfg.lua gives the reasons ----------------------------------------

local function number(name, default) return module:get_option_number("account_"..name, default); end

local most_contacts = number("contacts", 2000);
local most_nodes = number("nodes", 200);
local most_private = number("private", 50);
local most_sessions = number("sessions", 50);

local function refuse(event, text)
	if event.stanza.attr.type ~= "error" then
		event.origin.send(st.error_reply(event.stanza, "wait", "resource-constraint", text));
	end
	return true;
end

local function count(things)
	local number = 0;
	for _ in pairs(things) do number = number + 1; end
	return number;
end

-- Contacts ------------------------------------------------------------------------------

local function is_one_too_many(roster, contact)
	return roster and contact and not roster[contact]
		and count(roster) - 1 >= most_contacts; -- one of them is no contact, but notes
end

local function on_roster(event)
	local item = event.stanza.attr.type == "set" and event.stanza.tags[1].tags[1];
	if not item or item.attr.subscription == "remove" then return; end
	if is_one_too_many(event.origin.roster, jid.prep(item.attr.jid)) then
		return refuse(event, "There are too many contacts; remove one first");
	end
end
module:hook("iq/self/jabber:iq:roster:query", on_roster, 10);

local asks = { subscribe = true; subscribed = true }; -- both note a contact
local function on_presence(event)
	if not asks[event.stanza.attr.type] then return; end
	if is_one_too_many(event.origin.roster, jid.bare(event.stanza.attr.to)) then
		return refuse(event, "There are too many contacts; remove one first");
	end
end
module:hook("pre-presence/bare", on_presence, 10);
module:hook("pre-presence/full", on_presence, 10);

-- What is kept for a client ---------------------------------------------------------------

local makes = { publish = true; create = true; configure = true };
local function on_pubsub(event)
	local stanza, origin = event.stanza, event.origin;
	if stanza.attr.type ~= "set" or origin.type ~= "c2s" then return; end
	for _, action in ipairs(stanza.tags[1].tags) do
		local node = makes[action.name] and action.attr.node;
		local nodes = node and get_service(origin.username).nodes;
		if nodes and not nodes[node] and count(nodes) >= most_nodes then
			return refuse(event, "There are too many nodes; delete one first");
		end
	end
end
module:hook("iq/bare/http://jabber.org/protocol/pubsub:pubsub", on_pubsub, 10);

local private = module:open_store("private");
local function on_private(event)
	local stanza = event.stanza;
	local tag = stanza.attr.type == "set" and stanza.tags[1].tags[1];
	if not tag or #tag == 0 then return; end -- what is empty is taken out
	local kept = private:get(event.origin.username) or {};
	if not kept[tag.name..":"..(tag.attr.xmlns or "")] and count(kept) >= most_private then
		return refuse(event, "Too much is kept already; remove some of it first");
	end
end
module:hook("iq/self/jabber:iq:private:query", on_private, 10);

-- Sessions ----------------------------------------------------------------------------------

-- One whose circuit is gone waits for a day. The longest absent makes room.
module:hook("pre-resource-bind", function (event)
	local session = event.session;
	local account = prosody.bare_sessions[session.username.."@"..session.host];
	if not account or count(account.sessions) < most_sessions then return; end
	local oldest;
	for _, other in pairs(account.sessions) do
		if other.hibernating and (not oldest or other.hibernating < oldest.hibernating) then
			oldest = other;
		end
	end
	if not oldest then return false; end
	oldest:close({ condition = "resource-constraint"; text = "There are too many sessions" });
end);
