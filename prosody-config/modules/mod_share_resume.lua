-- Lets an upload that broke off go on: a second door to http_file_share.
--
-- PUT /resume/SLOT/NAME is that module's own PUT, with its permission; but what came is
-- kept when the connection breaks. GET /resume/SLOT/NAME says how many bytes that is, or
-- "all", and the next PUT names them (Upload-Offset) and sends the rest. Who has neither the permission nor the name of a slot can do neither.
--
-- A circuit that died may look alive from here for minutes. So who asks or sends with the
-- permission that another connection sends with takes over: that one is closed, and what
-- came of it is kept. What is kept exists only while nobody sends: the next PUT takes it
-- away first. So two connections never write to one file.

local found, storage = pcall(require, "prosody.core.storagemanager");
if not found then storage = require "core.storagemanager"; end
local dm = storage.olddm;
local lfs = require "lfs";
local share = module:depends("http_file_share");
local slots = module:open_store("uploads", "archive"); -- that module's own

-- Seconds until what nobody went on with is removed: a slot is good for minutes.
local keep = module:get_option_number("share_resume_keep", 86400);

-- Who is sending: by object, the response to be and the permission that was looked at.
local senders = {};

module:add_feature("urn:xmpp-onion:resume:0");

local function place_of(path) -- of the finished object, and of what is kept of it
	local slot = path and path:match("^([%w_-]+)/");
	if not slot then return nil; end
	local object = dm.getpath(slot, module.host, "http_file_share", "bin", true);
	return object, object..".part", slot;
end

local function size_of(slot)
	local request = slots:get(nil, slot);
	return request and tonumber(request.attr.size);
end

-- Put back what was kept. It is small: no object is larger than the share allows.
local function restore(sink, kept, size)
	local file = io.open(kept, "rb");
	if not file then return false; end
	local data = file:read(size) or "";
	file:close();
	os.remove(kept);
	return #data == size and sink:write(data);
end

-- End who sends for this object, and keep what came; false if somebody else may.
local function take_over(object, permission)
	local sender = senders[object];
	if not sender then return true; end
	if sender.permission ~= permission then return false; end
	local response = sender.response;
	response.finished = true; -- it gets no answer
	response:on_destroy(); -- now: close() may wait until something went out
	response.on_destroy = nil;
	response.conn:close();
	return true;
end

local function put(event, path)
	local request, response = event.request, event.response;
	local object, kept, slot = place_of(path);
	if request.body_sink then -- all of it came
		senders[object] = nil; -- its connection may send the next object already
		return share.handle_upload(event, path);
	end
	local offset = tonumber(request.headers.upload_offset or "");
	if not object or not offset or offset < 0 then return 400; end
	-- What is announced is the rest: no byte more goes to the disk.
	local announced = tonumber(request.headers.content_length or "");
	if not announced or offset + announced ~= size_of(slot) then return 413; end
	if not take_over(object, request.headers.authorization) then return 409; end
	request.headers.content_length = nil;
	local body = request.body; -- a short rest is here already
	request.body = false;
	local result = share.handle_upload(event, path); -- looks at the permission
	if result ~= true or not request.body_sink then return result; end
	local sink, clean_up = request.body_sink, response.on_destroy;
	if offset > 0 and not restore(sink, kept, offset) then return 409; end
	senders[object] = { response = response; permission = request.headers.authorization };
	function response:on_destroy()
		senders[object] = nil;
		if io.type(sink) == "file" then -- the connection broke
			sink:flush();
			os.rename(object.."~", kept);
		end
		return clean_up(self);
	end
	if body then
		request.body = body;
		return share.handle_upload(event, path);
	end
	return true;
end

local function get(event, path)
	local object, kept = place_of(path);
	if not object then return 404; end
	local permission = event.request.headers.authorization;
	if permission then take_over(object, permission); end
	event.response.headers.content_type = "text/plain";
	if lfs.attributes(object, "size") then return "all"; end
	return tostring(lfs.attributes(kept, "size") or 0);
end

module:provides("http", {
	name = "resume";
	streaming_uploads = true;
	route = { ["PUT /*"] = put; ["GET /*"] = get };
});

module:daily("Remove what nobody went on with", function(_, now)
	local folder = dm.getpath("x", module.host, "http_file_share", "bin", true):gsub("/[^/]*$", "");
	for name in lfs.dir(folder) do
		local path = folder.."/"..name;
		local changed = name:match("%.part$") and lfs.attributes(path, "modification");
		if changed and changed < (now or os.time()) - keep then os.remove(path); end
	end
end);
