-- Tasks, timers and the objects around vids. Run once per VM, after the prelude and before the
-- script, with the functions of the host side as its argument. All that it needs is taken here, so
-- that a script may replace its globals.
local host = ...
local moonport, rows = moonport, host.rows
local create, running = coroutine.create, coroutine.running
local yield, state = coroutine.yield, coroutine.status
local setmetatable, select, type, unpack = setmetatable, select, type, unpack
local next, remove = next, table.remove
local accept_target, weak = accept_target, { __mode = "k" }
local busy = host.busy

-- A vid leads to those who wait for it, in the order of their coming.
local waits = {}
-- What is to be run: tasks that have something to do, and functions of timers.
local ready, first, last = {}, 1, 0
-- A coroutine leads to its task: the vid it belongs to, and where it was started.
local tasks = setmetatable({}, weak)
-- A vid leads to how many tasks have waited for it and have not ended.
local hearers = {}
-- A number leads to what is to happen at a time: a ticket, or a function.
local timers = {}
-- Objects: their vids, what keeps their inboxes, and the one object of each vid.
local vids, inboxes = setmetatable({}, weak), setmetatable({}, weak)
local objects = setmetatable({}, { __mode = "v" })

local function push(item)
	last = last + 1
	ready[last] = item
	busy()
end

-- What is run next: a coroutine or function, the vid it belongs to, where it comes from, and the
-- number of the evaluation that it is.
local function take()
	while first <= last do
		local item = ready[first]
		ready[first] = nil
		first = first + 1
		if item.fn then
			item.queued = false
			if not item.cancelled then
				return item.fn, nil, item.place
			end
		elseif state(item.co) == "suspended" and not tasks[item.co].over then
			local task = tasks[item.co]
			return item.co, task.vid, task.place, task.evaluation
		end
	end
	first, last = 1, 0
end

-- A task has ended.
local function finish(co)
	for vid in next, tasks[co].heard do
		hearers[vid] = hearers[vid] - 1
		if hearers[vid] == 0 then
			hearers[vid] = nil
			host.unattend(vid)
		end
	end
end

local function wake(ticket, leg, status, why)
	ticket.done, ticket.leg, ticket.status, ticket.why = true, leg, status, why
	if leg then
		tasks[ticket.co].vid = leg.vid
	end
	push(ticket)
end

-- A status is about to be dispatched, or its vid is deleted: it is for the first who waits for it;
-- an end is for all.
local function hear(vid, kind, status)
	local list = waits[vid]
	if not list then
		return
	end
	local over = (kind == "terminated" or kind == "deleted") and kind
	local more, taken = false, false
	for i = 1, #list do
		local ticket = list[i]
		if not ticket.done then
			local leg = ticket.legs[vid]
			if over then
				wake(ticket, leg, status, over)
			elseif not taken and (not leg.kind or leg.kind == kind) then
				taken = true
				wake(ticket, leg, status)
			else
				more = true
			end
		end
	end
	if more then
		host.demand(vid)
	end
end

local function leave(ticket)
	for vid in next, ticket.legs do
		local list, others = waits[vid], false
		for i = #list, 1, -1 do
			if list[i] == ticket then
				remove(list, i)
			elseif not list[i].done then
				others = true
			end
		end
		if #list == 0 then
			waits[vid] = nil
		end
		if not others then
			host.undemand(vid)
		end
	end
	if ticket.timer then
		timers[ticket.timer] = nil
		host.cancel(ticket.timer)
	end
end

-- What is evaluated for somebody at a prompt is a task, too.
local function evaluate(fn, number)
	local co = create(fn)
	tasks[co] = { place = "the prompt", heard = {}, evaluation = number }
	push({ co = co })
	return co
end

-- A task is not to go on.
local function cancel(co)
	local task = tasks[co]
	task.over = true
	if task.ticket then
		leave(task.ticket)
	end
	finish(co)
end

local function the_task(name)
	local task = tasks[running() or 0]
	if not task then
		host.fail(name, "only a task can wait", "moonport.task(function() ... end); a coroutine of your own cannot")
	end
	return task
end

-- Waits for the first of several vids, or for the time: gives its leg, the status, and why there
-- will not be another one.
local function wait(name, legs, ms)
	local task = the_task(name)
	for vid, leg in next, legs do
		local over = host.over(vid)
		if over then
			return leg, nil, over
		end
	end
	local ticket = { co = running(), legs = legs }
	if ms then
		ticket.timer = host.timer(name, ms, false)
		timers[ticket.timer] = ticket
	end
	for vid in next, legs do
		if not task.heard[vid] then
			task.heard[vid] = true
			hearers[vid] = (hearers[vid] or 0) + 1
			host.attend(vid)
		end
		local list = waits[vid] or {}
		waits[vid] = list
		list[#list + 1] = ticket
		host.demand(vid)
	end
	task.ticket = ticket
	-- Whoever else resumes it wakes nobody.
	repeat
		yield()
	until ticket.done
	task.ticket = nil
	leave(ticket)
	return ticket.leg, ticket.status, ticket.why
end

-- A time has come.
local function fire(id)
	local timer = timers[id]
	if not timer then
		return
	end
	if not timer.fn then
		timers[id] = nil
		if not timer.done then
			wake(timer)
		end
		return
	end
	if not timer.every then
		timers[id] = nil
	end
	if not timer.queued then
		timer.queued = true
		push(timer)
	end
end

-- Objects.

local Segment = { __metatable = false }
Segment.__index = Segment

local function segment(vid)
	local object = objects[vid]
	if not object then
		object = setmetatable({ vid = vid }, Segment)
		vids[object] = vid
		objects[vid] = object
	end
	return object
end

local function own(object, name)
	local vid = vids[object or 0]
	if not vid then
		host.fail(name, "this is called with a colon, on what moonport.segment gives", "as client:send(...)")
	end
	return vid
end

-- From now on what comes is kept until it is waited for: as long as there is the object, or until
-- all tasks have ended that have waited for it.
local function keep(object, vid)
	if not inboxes[object] then
		inboxes[object] = host.keeper(vid)
	end
end

-- For a prompt nothing is kept: what comes between two evaluations is for the script's callbacks.
local function attend(object, vid)
	local task = tasks[running() or 0]
	if not (task and task.evaluation) then
		keep(object, vid)
	end
end

-- For a listener whose request has just woken this task: the client.
local function accepted(task, vid)
	if not host.asks(vid) then
		return nil
	end
	local client = accept_target()
	if client == 0 then
		return nil
	end
	local object = segment(client)
	keep(object, client)
	task.vid = client
	return object
end

local function method(name, run)
	local row, whole = rows["segment:" .. name], "segment:" .. name
	Segment[name] = function(self, ...)
		local vid = own(self, whole)
		if not run then
			return row(vid, ...)
		end
		row(vid, ...)
		return run(self, vid, ...)
	end
end

method("send")
method("close")

method("events", function(self, vid)
	attend(self, vid)
	return function()
		local _, status, over = wait("segment:events", { [vid] = { vid = vid, object = self } })
		if not over then
			return status
		end
	end
end)

method("expect", function(self, vid, kind, ms)
	attend(self, vid)
	local leg, status, over = wait("segment:expect", { [vid] = { vid = vid, kind = kind, object = self } }, ms)
	if over == "deleted" then
		host.ended(vid)
	elseif over and (kind ~= "terminated" or not status) then
		return nil, over
	elseif not leg then
		return nil, "timeout"
	end
	return status
end)

method("accept", function(self, vid)
	attend(self, vid)
	local task = the_task("segment:accept")
	while true do
		local _, request, over = wait("segment:accept", { [vid] = { vid = vid, kind = "segment_request", object = self } })
		if over == "deleted" then
			host.ended(vid)
		elseif over then
			return nil, over
		end
		local client = accepted(task, vid)
		if client then
			return client, request
		end
	end
end)

local function public(name, run)
	local row = rows[name]
	moonport[name:match("%.(.*)")] = function(...)
		return run(row(...))
	end
end

public("moonport.segment", segment)

public("moonport.task", function(fn, ...)
	local owner = host.owner()
	for i = 1, select("#", ...) do
		local vid = vids[select(i, ...) or 0]
		if vid then
			owner = vid
			break
		end
	end
	if last - first >= 10000 then
		host.fail("moonport.task", "too many tasks wait to begin", "start fewer from one callback")
	end
	local arguments, count = { ... }, select("#", ...)
	local co = create(function()
		return fn(unpack(arguments, 1, count))
	end)
	tasks[co] = { vid = owner, place = host.place(), heard = {} }
	push({ co = co })
end)

public("moonport.sleep", function(ms)
	wait("moonport.sleep", {}, ms)
end)

public("moonport.any", function(...)
	local task, legs, ms = the_task("moonport.any"), {}, nil
	for i = 1, select("#", ...) do
		local thing = select(i, ...)
		if type(thing) == "number" then
			ms = (not ms or thing < ms) and thing or ms
		else
			local vid = own(thing, "moonport.any")
			attend(thing, vid)
			legs[vid] = { vid = vid, object = thing, kind = host.is_listener(vid) and "segment_request" or nil }
		end
	end
	while true do
		local leg, status, over = wait("moonport.any", legs, ms)
		if not leg then
			return nil, "timeout"
		elseif over then
			return leg.object, nil, over
		elseif not leg.kind then
			return leg.object, status
		end
		local client = accepted(task, leg.vid)
		if client then
			return leg.object, client, status
		end
	end
end)

-- Timers.

local Timer = { __metatable = false }
Timer.__index = Timer
local ids = setmetatable({}, weak)

local function timer(name, every)
	public(name, function(ms, fn)
		local id = host.timer(name, ms, every)
		timers[id] = { fn = fn, every = every, place = host.place() }
		local handle = setmetatable({}, Timer)
		ids[handle] = id
		return handle
	end)
end
timer("moonport.after", false)
timer("moonport.every", true)

function Timer.cancel(self)
	local id = ids[self or 0]
	if not id then
		host.fail("timer:cancel", "this is called with a colon, on what moonport.after gives", "as timer:cancel()")
	end
	local found = timers[id]
	timers[id] = nil
	host.cancel(id)
	if found then
		found.cancelled = true
	end
	return found ~= nil
end

return take, hear, fire, finish, evaluate, cancel, waits
