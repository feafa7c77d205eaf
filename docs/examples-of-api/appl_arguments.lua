-- `moonport run lamp.lua -- one two`
for number, word in ipairs(appl_arguments()) do
    print(number, word)
    --> 1	one
    --> 2	two
end
