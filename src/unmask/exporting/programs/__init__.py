"""The programs that stand in an exported folder as its run.py, one for each kind of head.

They import nothing of unmask but `shared`, which `unmask.exporting.program` writes into each of them: what is left
needs onnxruntime, tokenizers and numpy. So some rules that the tasks have stand here again, in fewer lines and for few
texts at a time, and the tests hold the two against each other.
"""
