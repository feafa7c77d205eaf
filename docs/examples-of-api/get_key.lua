-- Counts how often the script was started.
local runs = tonumber(get_key("runs")) or 0
store_key("runs", runs + 1)
print("this is run " .. get_key("runs")) --> this is run 1
