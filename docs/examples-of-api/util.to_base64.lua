print(util.to_base64("moon")) --> bW9vbg==
