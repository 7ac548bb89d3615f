"""What several suites of the tests share."""
