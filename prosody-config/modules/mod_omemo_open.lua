-- Whoever may write to somebody can read with which keys: the OMEMO nodes of every
-- account are open, whatever the client that publishes asked for. Some publish them for
-- contacts alone (Profanity 0.13.1), or ask for nothing, which is the same; then nobody
-- can write to them for the first time without being seen to come, as a contact.
--
-- A client that asks for another access model gets an answer as if it had it: an error
-- would keep it from publishing at all. What it reads back is the truth. All other
-- nodes are left alone. For Prosody 0.12 and 13.0, on the hosts of accounts.
module:depends "pep";

-- Profanity asks for it where the server's own name says that it can be asked for;
-- others look at the account, where mod_pep says so (XEP-0163, section 6.1).
module:add_feature("http://jabber.org/protocol/pubsub#publish-options");

local names = {
	["eu.siacs.conversations.axolotl.devicelist"] = true;
	["urn:xmpp:omemo:2:devices"] = true;
	["urn:xmpp:omemo:2:bundles"] = true;
};

local function is_omemo(node)
	return names[node] or node and node:match("^eu%.siacs%.conversations%.axolotl%.bundles:%d+$");
end

local changed = setmetatable({}, { __mode = "k" }); -- the services that we have changed

-- Each of these asks the service for what the client asked for, but for one thing.
local better = {};

function better.create(service, node, actor, options)
	if is_omemo(node) then
		options = options or {};
		options.access_model = "open";
	end
	return getmetatable(service).__index.create(service, node, actor, options);
end

function better.publish(service, node, actor, id, item, options)
	if is_omemo(node) and options and options.access_model then
		options.access_model = "open"; -- or it is "precondition-not-met"
	end
	return getmetatable(service).__index.publish(service, node, actor, id, item, options);
end

function better.set_node_config(service, node, actor, config)
	if is_omemo(node) then config.access_model = "open"; end
	return getmetatable(service).__index.set_node_config(service, node, actor, config);
end

-- What was published before this module was there.
local function open_nodes(service)
	for node in pairs(service.nodes) do
		local found, config = service:get_node_config(node, true);
		if is_omemo(node) and found and config.access_model ~= "open" then
			if not service:set_node_config(node, true, config) then
				module:log("warn", "A node of OMEMO could not be opened");
			end
		end
	end
end

module:handle_items("pep-service", function (added)
	local service = added.item.service;
	for name, method in pairs(better) do service[name] = method; end
	changed[service] = true;
	open_nodes(service);
end, function (removed)
	changed[removed.item.service] = nil;
end);

function module.unload()
	for service in pairs(changed) do
		for name in pairs(better) do service[name] = nil; end
	end
end
