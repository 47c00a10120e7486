import re,sys
def pick(path, f):
    s=open(path).read()
    s=re.sub(r'<<<<<<< [^\n]*\n(.*?)=======\n(.*?)>>>>>>> [^\n]*\n', lambda m:f(m.group(1),m.group(2)), s, flags=re.S)
    open(path,'w').write(s)
both=lambda a,b:a+b
ours=lambda a,b:a
