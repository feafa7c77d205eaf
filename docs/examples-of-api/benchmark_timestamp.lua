-- How long something takes, in microseconds; and the time of day.
local begun = benchmark_timestamp(-1)
local sum = 0
for number = 1, 1000 do
    sum = sum + number
end
print(sum, benchmark_timestamp(-1) >= begun) --> 500500	true
print(os.date("!%Y", benchmark_timestamp(1)) >= "2024") --> true
