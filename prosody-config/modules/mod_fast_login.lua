-- Log in with fewer round trips, each of which takes half a second through Tor: SASL2
-- (XEP-0388), Bind 2 (XEP-0386) and tokens in place of a password (FAST, XEP-0484).
--
-- The modules are Debian's, in its package prosody-modules. Where they are not, or where
-- they do not belong to this Prosody, nothing happens, and everybody logs in as ever.
--
-- What Debian 12 has for 0.12 was written for a later Prosody: as it is, every stream
-- would end in an error. Below is what it lacks. 13.0 with Debian 13's lacks nothing.
local function lib(name) -- 13.0 moved its libraries under "prosody."
	local found, library = pcall(require, "prosody."..name);
	return found and library or require(name);
end
local pluginloader = lib "util.pluginloader";

local names = { "sasl2"; "sasl2_bind2"; "sasl2_fast" };
-- Resuming a stream while logging in: mod_smacks of 0.12 cannot be asked to.
local is_new = rawget(module:depends "smacks", "do_enable") ~= nil;
if is_new then table.insert(names, "sasl2_sm"); end

-- The modules of the two series differ in this: the newer ones tell of log-ins as
-- mod_saslauth does, which our limits live on.
local function belongs_to_this_prosody()
	local text;
	for _, name in ipairs(names) do
		text = pluginloader.load_resource(name);
		if not text then return false; end
	end
	text = pluginloader.load_resource("sasl2");
	local tells = text:find("authentication-success", 1, true) ~= nil;
	if tells ~= is_new then
		module:log("warn", "prosody-modules are of another series; no fast log-in");
	end
	return tells == is_new;
end

local function add_what_0_12_lacks()
	-- A field of events, and a function of connections.
	module:hook("stream-features", function (event)
		if event.stream == nil then event.stream = { from = "x@"..module.host }; end
		local conn = event.origin.conn;
		if not conn or conn.ssl_info then return; end
		function conn:ssl_info()
			local sock = self:socket();
			return sock and sock.info and sock:info() or nil;
		end
	end, 1000);
	-- Whole seconds: the end of a token's life is not.
	local datetime = lib "util.datetime";
	local exact = datetime.datetime;
	function datetime.datetime(when) return exact(when and math.floor(when)); end
	function module.unload() datetime.datetime = exact; end
	-- A way to ask a stanza.
	local methods = lib "util.stanza".stanza_mt.__index;
	methods.get_child_attr = methods.get_child_attr or function (self, name, xmlns, attr)
		local child = self:get_child(name, xmlns);
		return child and child.attr[attr] or nil;
	end;
	-- What others listen for.
	module:hook("sasl2/c2s/failure", function (event)
		module:fire_event("authentication-failure", {
			session = event.session; condition = event.message; text = event.error_text;
		});
		-- After a refused token, else, a password on the same stream is refused, too.
		event.session.sasl_handler = nil;
	end, 10);
	module:hook("sasl2/c2s/success", function (event)
		module:fire_event("authentication-success", { session = event.session });
	end, -1500);
end

-- Who logs in with a token says more behind it, and asks for an acknowledgement. If the
-- token is refused, or the stream that it was for is gone, nobody is there who could
-- answer that; mod_smacks would let the connection end for it. Errors for what was said
-- go back as ever, and the same connection takes a password.
local function pass_over_what_came_too_early()
	module:hook("stanza/urn:xmpp:sm:3:r", function (event)
		return event.origin.type:sub(1, 3) == "c2s" and not event.origin.smacks or nil;
	end, -1);
end

if belongs_to_this_prosody() then
	pass_over_what_came_too_early();
	if not is_new then add_what_0_12_lacks(); end
	for _, name in ipairs(names) do module:depends(name); end
end
