-- Answers every HTTP error with an empty body, so that "/" does not say which
-- program runs here, and tells neither the time nor a number of the request: how far a
-- clock is wrong is a fingerprint, and a server without one has no date to tell
-- (RFC 9110, section 6.6.1). Works on Prosody 0.12 and 13.0.
module:set_global();
-- 13.0 moved its libraries under "prosody."; 0.12 knows them without.
local found, server = pcall(require, "prosody.net.http.server");
if not found then server = require "net.http.server"; end
module:hook_object_event(server, "http-error", function () return ""; end, 1000);

local send_response, write_headers = server.send_response, server.write_headers;

local function quiet(response)
	response.headers.date, response.headers.x_request_id = nil, nil;
end

function server.send_response(response, body)
	quiet(response);
	return send_response(response, body);
end

function server.write_headers(response) -- of files, and of answers to HEAD
	quiet(response);
	return write_headers(response);
end

function module.unload()
	server.send_response, server.write_headers = send_response, write_headers;
end
