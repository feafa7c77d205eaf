print(util.from_base64("bW9vbg==")) --> moon
print(util.from_base64("no base64!")) --> nil
