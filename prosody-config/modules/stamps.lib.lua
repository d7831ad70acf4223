-- What mod_stamps decides, without a server: what a stamp is over, whether it is of
-- these days, and what it cost.
local stamps = {};

-- Days before and after today that count: a message may have waited for its network,
-- and clocks disagree.
local before, after = 3, 1;
local day_seconds = 86400;

-- Returns what is hashed, or nil if something in it is malformed.
function stamps.text(sender, recipient, stamp)
	local day, nonce = stamp.day, stamp.nonce;
	if not day or not nonce or #nonce > 64 or not nonce:match("^[%w_-]+$") then
		return nil;
	end
	return table.concat({ "urn:xmpp-onion:stamp:0", sender, recipient, day, nonce }, "\n");
end

function stamps.is_timely(day, now)
	if not day or not day:match("^%d%d%d%d%-%d%d%-%d%d$") then return false; end
	for offset = -before, after do
		if os.date("!%Y-%m-%d", now + offset * day_seconds) == day then return true; end
	end
	return false;
end

-- Tells whether a hash in hexadecimal begins with so many zero bits.
function stamps.is_worth(hash, bits)
	local digits, rest = math.floor(bits / 4), bits % 4;
	if hash:sub(1, digits) ~= ("0"):rep(digits) then return false; end
	return rest == 0 or tonumber(hash:sub(digits + 1, digits + 1), 16) < 2 ^ (4 - rest);
end

return stamps;
