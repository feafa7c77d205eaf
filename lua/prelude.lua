-- What a script finds beside the functions of the API table. Run once per VM, before the script,
-- with the functions of the host side as its argument; nothing of it is visible to scripts but
-- the globals it sets.
local host = ...
local raw_pcall, raw_resume = pcall, coroutine.resume
local tostring, select, concat = tostring, select, table.concat

-- Errors of the host side are objects; scripts get their text. What must not be caught (a time
-- limit, and in classic mode misuse of the API) is raised again by `host.caught`.
local function settle(ok, ...)
	if ok then
		return true, ...
	end
	return false, host.caught((...))
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

if host.strict then
	setmetatable(_G, {
		__index = function(_, name)
			if type(name) == "string" and name:match("^[A-Z][A-Z0-9_]*$") then
				host.unknown_global(name)
			end
		end,
	})
end
