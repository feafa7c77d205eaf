-- What a script finds beside the functions of the API table. Run once per VM, before the script,
-- with the functions of the host side as its argument; nothing of it is visible to scripts but
-- the globals it sets.
local host = ...
local raw_pcall, raw_resume, raise = pcall, coroutine.resume, error
local find, type = string.find, type
local tostring, select, concat = tostring, select, table.concat

-- Errors of the host side are objects; scripts get their text. What must not be caught (a limit,
-- and in classic mode misuse of the API) goes on: raised here, since it costs the host side more,
-- and there may be thousands of calls to leave.
local function settle(ok, ...)
	if ok then
		return true, ...
	end
	-- Where the stack is full there is no room for limits either: all of it has to be left.
	local thrown = ...
	if type(thrown) == "string" and find(thrown, "stack overflow", 1, true) then
		raise(thrown, 0)
	end
	local again, value = host.caught(thrown)
	if again then
		raise(value, 0)
	end
	return false, value
end

function pcall(f, ...)
	return settle(raw_pcall(f, ...))
end

function coroutine.resume(co, ...)
	return settle(raw_resume(co, ...))
end

function print(...)
	local words = {}
	for i = 1, select("#", ...) do
		words[i] = tostring((select(i, ...)))
	end
	if #words > 0 then
		host.print(concat(words, "\t"))
	end
end

-- The VM's own matcher cannot be stopped. Where text and pattern are small it need not be;
-- otherwise `host.vet` finds out whether it would have to be.
local match, gmatch, gsub = string.match, string.gmatch, string.gsub
local byte = string.byte
local ENOUGH = 1e7
local known, count = {}, 0

-- How many places a pattern has at which it may try again.
local function branches(pattern)
	local n = known[pattern]
	if not n then
		n = 0
		for i = 1, #pattern do
			local b, after = byte(pattern, i, i + 1)
			-- * + - ?, and %b and %1, which look far.
			if b == 42 or b == 43 or b == 45 or b == 63 then
				n = n + 1
			elseif b == 37 and (after == 98 or after and after >= 49 and after <= 57) then
				n = n + 1
			end
		end
		if #pattern <= 100 then
			count = count + 1
			if count > 1000 then
				known, count = {}, 1
			end
			known[pattern] = n
		end
	end
	return n
end

local function vet(text, pattern, start, search)
	if type(text) == "number" then
		text = tostring(text)
	end
	if type(pattern) == "number" then
		pattern = tostring(pattern)
	end
	if type(text) ~= "string" or type(pattern) ~= "string" then
		return
	end
	local size = #text
	if size * (#pattern + 1) * size ^ branches(pattern) > ENOUGH then
		host.vet(text, pattern, type(start) == "number" and start or 1, search)
	end
end

function string.find(text, pattern, start, plain)
	vet(text, pattern, start, plain and 1 or 2)
	return find(text, pattern, start, plain)
end

function string.match(text, pattern, start)
	vet(text, pattern, start, 2)
	return match(text, pattern, start)
end

function string.gmatch(text, pattern)
	vet(text, pattern, 1, 4)
	return gmatch(text, pattern)
end

function string.gsub(text, pattern, ...)
	vet(text, pattern, 1, 3)
	return gsub(text, pattern, ...)
end

-- A comparison of the VM's own is as deaf; one in Lua is not. Few are sorted soon enough.
local sort = table.sort
local function less(a, b)
	return a < b
end

function table.sort(list, order)
	if order == nil and type(list) == "table" and #list > 1000 then
		order = less
	end
	return sort(list, order)
end

if host.strict then
	setmetatable(_G, {
		__index = function(_, name)
			if type(name) == "string" and match(name, "^[A-Z][A-Z0-9_]*$") then
				host.unknown_global(name)
			end
		end,
	})
end
