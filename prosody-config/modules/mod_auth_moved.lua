-- The passwords of a name that the server had are those of the name that it has.
--
-- Who logs in under the old name proves who they are, and is told the new one
-- (mod_moved). Nothing can be made or changed here.
--
-- Options: moved_to (the name that the server has)

local new = module:get_option_string("moved_to");

local function users()
	local host = prosody.hosts[new];
	return host and host.users or {};
end

local function refuse()
	return nil, "This server has another name now";
end

local provider = {
	get_password = refuse;
	set_password = refuse;
	create_user = refuse;
	delete_user = refuse;
};

function provider.test_password(username, password)
	local test = users().test_password;
	if not test then return refuse(); end
	return test(username, password);
end

function provider.user_exists(username)
	local exists = users().user_exists;
	return exists and exists(username);
end

function provider.is_enabled(username) -- 13.0
	local enabled = users().is_enabled;
	return not enabled or enabled(username);
end

function provider.users()
	return function () end;
end

-- SCRAM knows nothing of the name, so the hashes of the other one fit.
function provider.get_sasl_handler(session)
	return users().get_sasl_handler(session);
end

module:provides("auth", provider);
