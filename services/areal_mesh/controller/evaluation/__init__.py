"""Evaluation during training: `due` decides when and by whom, `holds` keeps a version at those who are examined,
`asking` has the calls to generators and verifier, `evaluator` is the task, `figures` what came of it.
"""
