"""The house rules, as functions from a file to what is wrong with it; tests/test_house_rules.py holds them."""
