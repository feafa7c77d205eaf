local moon = moonport.json.decode('{"phases":[1,0.5],"seen":null}')
print(moon.phases[2], moon.seen == moonport.json.null) --> 0.5	true
print(select("#", pcall(moonport.json.decode, "[1,"))) --> 2
