-- Lets nobody find out which names exist by trying to log in. Prosody challenges a name
-- that it knows, and refuses one that it does not, or that is disabled, at once. Here
-- everybody is challenged, and refused only when the proof was looked at; nothing tells
-- a name that is there from one that is not. Works on Prosody 0.12 and 13.0.
--
-- What is invented for a name stays the same, also after a restart: it comes from the
-- name and a secret of this server. It looks like what Prosody makes for an account.
-- Whoever asked before an account was made and asks again sees that something changed.
local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local hashes, random, hex = lib "util.hashes", lib "util.random", lib "util.hex";

local mechanism = "scram_sha_256"; -- password_hash decides it, and README.md names no other
local rounds = module:get_option_number("default_iteration_count", 10000);

local store = module:open_store();
local kept = store:get(nil) or {};
if not kept.secret then
	kept.secret = hex.encode(random.bytes(32));
	assert(store:set(nil, kept), "the secret of the server's names cannot be kept");
end

local function derive(what, name)
	return hashes.hmac_sha256(kept.secret, what.."\0"..name);
end

local function invent_salt(name) -- a random UUID (RFC 9562, section 5.4), as Prosody's are
	local digits = hex.encode(derive("salt", name));
	local variant = ("89ab"):sub(tonumber(digits:sub(17, 17), 16) % 4 + 1):sub(1, 1);
	return ("%s-%s-4%s-%s%s-%s"):format(digits:sub(1, 8), digits:sub(9, 12),
		digits:sub(13, 15), variant, digits:sub(18, 20), digits:sub(21, 32));
end

-- Both are done for every name, so that no step is left out for some of them.
local function answer(name, stored, server, count, salt, state)
	local key, invented = derive("key", name), invent_salt(name);
	if state and stored and salt then return stored, server, count, salt, state; end
	return key, key, rounds, invented, true; -- of no password that anybody has
end

local users = prosody.hosts[module.host].users;
local plain = users.get_sasl_handler;

function users.get_sasl_handler(session)
	local handler = plain(session);
	local look_up = handler.profile[mechanism];
	if look_up then
		handler.profile[mechanism] = function (sasl, name, ...)
			return answer(name, look_up(sasl, name, ...));
		end
	end
	return handler;
end

function module.unload() users.get_sasl_handler = plain; end
