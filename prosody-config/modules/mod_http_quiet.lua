-- Answers every HTTP error with an empty body, so that "/" does not say which
-- program runs here. Works on Prosody 0.12 and 13.0.
module:set_global();
-- 13.0 moved its libraries under "prosody."; 0.12 knows them without.
local found, server = pcall(require, "prosody.net.http.server");
if not found then server = require "net.http.server"; end
module:hook_object_event(server, "http-error", function () return ""; end, 1000);
