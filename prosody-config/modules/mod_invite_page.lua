-- Shows the page of an invite to who knows its address, while the invite is open.
-- Everything else looks as if there were no pages: the same empty answer. Works on
-- Prosody 0.12 and 13.0.
--
-- The pages are made by `server invite --page`, whole; this only keeps the time.
module:depends("http");
local invites = module:depends("invites");
local pages = module:open_store("invite_pages", "map");

local headers = {
	content_type = "text/html; charset=utf-8";
	cache_control = "no-store";
	referrer_policy = "no-referrer";
	x_content_type_options = "nosniff";
};

local function show(event, name)
	local page = name and #name >= 32 and pages:get(nil, name);
	if not page then return 404; end
	if not invites.get_account_invite_info(page.token) then -- used, revoked or expired
		pages:set(nil, name, nil);
		return 404;
	end
	for header, value in pairs(headers) do event.response.headers[header] = value; end
	event.response.headers.content_security_policy = page.policy;
	return page.html;
end

module:provides("http", {
	default_path = "/invite";
	cors = { enabled = false }; -- its headers would tell that something is here
	-- The bare path as well, where Prosody would send browsers to the one with a slash.
	route = { ["GET"] = function () return 404; end; ["GET /*"] = show };
});
