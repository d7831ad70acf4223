-- Makes an invite good for one account and not for one connection.
--
-- Prosody checks a token when a guest shows it, and forgets it when an account was
-- made. Guests who all showed it before the first of them registered would all get
-- an account: so look again at the last moment. Also, an invite for a certain name
-- makes an account of that name only, and one for a contact none. Works on Prosody 0.12 and 13.0.
local found, jid = pcall(require, "prosody.util.jid");
if not found then jid = require "util.jid"; end
local invites = module:depends("invites");

module:hook("user-registering", function (event)
	local shown = event.session and event.session.validated_invite;
	if not shown or not event.allowed then return; end
	local info = invites.get_account_invite_info(shown.token);
	if not info then
		event.allowed = false;
		event.reason = "The invite token is invalid or expired";
		return;
	end
	-- One for a contact is kept as an account's, because 0.12.3 fails without that.
	if not info.allow_registration then
		event.allowed = false;
		event.reason = "The invite makes a contact, and no account";
		return;
	end
	local username = info.type == "register" and jid.node(info.jid);
	if username and username ~= event.username then
		event.allowed = false;
		event.reason = "The invite is for another name";
	end
end, -10); -- after mod_invites_register has had its say
