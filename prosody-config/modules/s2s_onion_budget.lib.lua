-- How much dialing mod_s2s_onion does for whom, without a server: places for dials
-- under way, a line before them, and so many a minute. Time is an argument, in seconds.
local budget = {};

-- Returns a counter that lets through `per_minute` things a minute, and so many at
-- once after a minute of rest.
function budget.rate(per_minute)
	local left, seen = per_minute, nil;
	return function (now)
		if seen then left = math.min(per_minute, left + (now - seen) * per_minute / 60); end
		seen = now;
		if left < 1 then return false; end
		left = left - 1;
		return true;
	end;
end

-- Returns counters by name, each like budget.rate(). There are at most `names` of them:
-- the counter of who was quiet longest is forgotten, by `cache` (util.cache).
function budget.rates(cache, names, per_minute)
	local counters = cache.new(names);
	return function (name, now)
		local counter = counters:get(name) or budget.rate(per_minute);
		counters:set(name, counter);
		return counter(now);
	end;
end

-- Returns places for `at_once` dials, and a line for `waiting` more.
function budget.places(at_once, waiting)
	local places, used, line = {}, 0, {};

	-- Whether one more dial can be taken in.
	function places.has_room()
		return used < at_once or #line < waiting;
	end

	-- Calls ticket.go() as soon as there is a place, perhaps at once.
	function places.enter(ticket)
		if used < at_once then
			used, ticket.inside = used + 1, true;
			ticket.go();
		else
			table.insert(line, ticket);
		end
	end

	-- Gives a place, or a place in the line, back; again has no effect.
	function places.leave(ticket)
		if ticket.gone then return; end
		ticket.gone = true;
		if not ticket.inside then
			for place, other in ipairs(line) do
				if other == ticket then table.remove(line, place); return; end
			end
			return;
		end
		used = used - 1;
		local next_one = table.remove(line, 1);
		if next_one then
			used, next_one.inside = used + 1, true;
			next_one.go();
		end
	end

	function places.count() return used, #line; end

	return places;
end

return budget;
