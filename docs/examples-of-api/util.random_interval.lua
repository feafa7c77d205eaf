-- A die.
local thrown = util.random_interval(1, 7)
print(thrown >= 1, thrown <= 6) --> true	true
