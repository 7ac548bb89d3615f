"""An account's policies, evaluated: who may do what by the statements of the synthesised templates.

`patterns` matches resources, `conditions` what a statement asks of a request, `evaluation` decides. `template_values`
puts made-up values in the place of CloudFormation's intrinsics; `cloud_account` finds the policies in the templates.
Whatever is not understood is an error: a statement that was passed over would prove nothing.
"""
