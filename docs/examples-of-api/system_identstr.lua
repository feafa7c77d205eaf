-- Which program this is.
print(system_identstr():match("^%a+")) --> Moonport
