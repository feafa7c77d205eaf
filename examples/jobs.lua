-- jobs.lua: a queue of jobs, kept in memory; workers do them, clients have them done.
--
--     moonport run jobs.lua               listens on port 6680
--     moonport run jobs.lua -- 7000       listens on port 7000
--
-- Workers and clients need keys that are accepted, here two by one secret:
--
--     moonport window open jobs --count 2
--     moonport connect 127.0.0.1 --ask-secret --tag jobs
--
-- What they say first tells what they are:
--
--     a worker says    worker             and gets    job NUMBER TEXT, one at a time
--                      done TEXT          when it has done it
--     a client says    job TEXT           and gets    queued NUMBER
--                                                     done NUMBER TEXT
--
-- A job is given to one worker; if that one leaves before it is done, to another one. The jobs of a
-- client that leaves are done all the same, and nobody is told.

local INTERFACE, PORT = "127.0.0.1", 6680 -- "" instead: reachable from everywhere
local MOST = 1000 -- jobs that may wait

-- Jobs that no worker has, the next one first, and workers that have no job.
local waiting, idle = {}, {}
local count = 0

local function assign()
	while waiting[1] and idle[1] do
		local worker, job = table.remove(idle, 1), table.remove(waiting, 1)
		worker.job = job
		worker.client:send(("job %d %s"):format(job.number, job.text))
	end
end

local function work(client)
	local worker = { client = client }
	table.insert(idle, worker)
	assign()
	for status in client:events() do
		local result = (status.text or ""):match("^done ?(.*)")
		if result and worker.job then
			worker.job.client:send(("done %d %s"):format(worker.job.number, result))
			worker.job = nil
			table.insert(idle, worker)
			assign()
		end
	end
	-- It has left.
	if worker.job then
		table.insert(waiting, 1, worker.job)
		return assign()
	end
	for at, other in ipairs(idle) do
		if other == worker then
			return table.remove(idle, at)
		end
	end
end

local function order(client, text)
	if #waiting >= MOST then
		return client:send("too many jobs wait")
	end
	count = count + 1
	client:send(("queued %d"):format(count))
	table.insert(waiting, { number = count, text = text, client = client })
	assign()
end

local function serve(client)
	for status in client:events() do
		local text = status.text or ""
		if text == "worker" then
			work(client)
		elseif text:match("^job ") then
			order(client, text:sub(5))
		elseif status.kind == "message" and not status.multipart then
			client:send("say worker, or job TEXT")
		end
	end
	client:close()
end

function jobs(words)
	moonport.task(function()
		local door = moonport.segment(net_listen("jobs", INTERFACE, tonumber(words[1]) or PORT))
		while true do
			local client, why = door:accept()
			if not client then
				return print("cannot listen: " .. why)
			end
			moonport.task(serve, client)
		end
	end)
end
