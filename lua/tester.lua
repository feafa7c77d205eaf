-- What tests of scripts find beside Lua: scripts under test, their clients, and assertions. Run once
-- per file of tests, with the functions of the host side as its argument.
local host = ...
local type, tostring, error, pcall = type, tostring, error, pcall
local find, format = string.find, string.format

-- What the host side gives, or its words as an error of the test's line.
local function want(value, words)
	if value == nil and words then
		error(words, 3)
	end
	return value
end

-- As it is written in Lua, so that what differs is seen.
local function show(value, depth)
	if type(value) == "string" then
		return format("%q", value)
	elseif type(value) ~= "table" or (depth or 0) > 3 then
		return tostring(value)
	end
	local parts, names = {}, {}
	for i = 1, #value do
		parts[i] = show(value[i], (depth or 0) + 1)
	end
	for name in pairs(value) do
		if not (type(name) == "number" and name >= 1 and name <= #value) then
			names[#names + 1] = name
		end
	end
	table.sort(names, function(a, b)
		return tostring(a) < tostring(b)
	end)
	for _, name in ipairs(names) do
		parts[#parts + 1] = tostring(name) .. " = " .. show(value[name], (depth or 0) + 1)
	end
	return "{" .. table.concat(parts, ", ") .. "}"
end

local function same(a, b)
	if type(a) ~= "table" or type(b) ~= "table" then
		return a == b
	end
	for name, value in pairs(a) do
		if not same(value, b[name]) then
			return false
		end
	end
	for name in pairs(b) do
		if a[name] == nil then
			return false
		end
	end
	return true
end

function eq(got, wanted)
	if not same(got, wanted) then
		error("got " .. show(got) .. "\nwanted " .. show(wanted), 2)
	end
end

function ok(value, words)
	if not value then
		error(words or "it is " .. show(value), 2)
	end
	return value
end

-- The very text, or a pattern that is found in it.
local function fits(text, wanted)
	return text == wanted or (find(text, wanted)) ~= nil
end

function raises(f, pattern)
	local well, thrown = pcall(f)
	if well then
		error("nothing was raised", 2)
	end
	thrown = tostring(thrown)
	if pattern and not fits(thrown, pattern) then
		error("raised " .. show(thrown) .. "\nwanted " .. show(pattern), 2)
	end
	return thrown
end

local Peer = {}
Peer.__index = Peer

-- What the client has heard and nobody has asked for yet.
local function listen(peer)
	local heard = host.hear(peer.number)
	for i = 1, #heard, 2 do
		peer.heard[#peer.heard + 1] = { kind = heard[i], text = heard[i + 1] }
	end
	return peer.heard
end

function Peer:message(text)
	want(host.say(self.number, "message", tostring(text)))
end

function Peer:say(kind, text)
	want(host.say(self.number, tostring(kind), tostring(text or "")))
end

function Peer:expect(kind, wanted)
	local heard, others = listen(self), {}
	for i, said in ipairs(heard) do
		if said.kind == kind then
			if wanted and not fits(said.text, wanted) then
				error(format("the %s is %s\nwanted %s", kind, show(said.text), show(wanted)), 2)
			end
			table.remove(heard, i)
			return said.text
		end
		others[i] = said.kind
	end
	local rest = #others > 0 and "only " .. table.concat(others, ", ") or "nothing"
	local over = host.closed(self.number)
	error(format("no %s has come, %s%s", kind, rest, over and "; the connection is over: " .. over or ""), 2)
end

function Peer:heard_nothing(kind)
	for _, said in ipairs(listen(self)) do
		if not kind or said.kind == kind then
			error(format("a %s has come: %s", said.kind, show(said.text)), 2)
		end
	end
end

function Peer:closed()
	return host.closed(self.number) ~= nil
end

function Peer:close()
	want(host.hang_up(self.number))
end

function Peer:key()
	return host.key(self.number)
end

local App = {}
App.__index = App

local known = { key = true, known = true, secret = true, title = true }

function App:connect(name, options)
	options = options or {}
	for option in pairs(options) do
		if not known[option] then
			error("connect has no option " .. tostring(option) .. "; it has key, known, secret and title", 2)
		end
	end
	-- Who brings a secret is unknown, if nothing else is said.
	local is_known = options.known
	if is_known == nil then
		is_known = options.secret == nil
	end
	local number = want(host.connect(self.number, name, options.key, is_known, options.secret, options.title))
	return setmetatable({ number = number, heard = {} }, Peer)
end

function App:listener(name)
	local interface, port = host.listener(self.number, name)
	return interface and { name = name, interface = interface, port = port }
end

function App:output()
	return host.output(self.number)
end

function App:errors()
	return host.errors(self.number)
end

function App:exit()
	return host.exit(self.number)
end

function App:advance(ms)
	want(host.advance(self.number, ms))
end

function load(path, words)
	return setmetatable({ number = want(host.load(path, words or {})) }, App)
end

moonport = {
	script = function(source, words)
		return setmetatable({ number = want(host.script(source, words or {})) }, App)
	end,
	test = function(name, f)
		if type(name) ~= "string" or type(f) ~= "function" then
			error("moonport.test takes a name and a function", 2)
		end
		host.test(name, f)
	end,
}
