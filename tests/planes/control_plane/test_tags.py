"""Tags, and the clips under them."""

from __future__ import annotations

import pytest

from pinthesky.errors import NotFound
from tests.planes.fakes import START_S
from tests.planes.home import GARDEN, GUEST, HALL, MEMBER, OWNER, VIEWER, StagedHome, ask, ask_for, list_all, problem_of
from tests.planes.recordings import add_clip, event_id, store_clip


@pytest.fixture
def tagged(fleet: StagedHome) -> tuple[StagedHome, str, str]:
    """A clip of the garden and one of the hall, both under `pets`."""
    of_garden = add_clip(fleet, GARDEN, START_S - 200, event_id(1))
    of_hall = add_clip(fleet, HALL, START_S - 100, event_id(2))
    ask_for(fleet, OWNER, "POST", "/tags", {"name": "pets", "description": "Ours and others'"})
    references = [{"video": of_garden, "thingName": "garden"}, {"video": of_hall, "thingName": "hall"}]
    answer = ask_for(fleet, MEMBER, "POST", "/tags/pets/videos", {"videos": references})
    assert [each["tags"] for each in answer["items"]] == [["pets"], ["pets"]]
    return fleet, of_garden, of_hall


def test_a_tag_is_made_described_and_listed_by_name(home):
    for name in ("weather", "pets", "Übermut"):
        made = ask_for(home, MEMBER, "POST", "/tags", {"name": name})
        assert made == {"name": name, "description": "", "createdAt": round(START_S) * 1000}
    assert ask(home, OWNER, "POST", "/tags", {"name": "pets"})[0] == 409
    assert ask_for(home, OWNER, "PUT", "/tags/pets", {"description": "Cats"})["description"] == "Cats"
    assert [each["name"] for each in list_all(home, VIEWER, "/tags", limit=1)] == ["pets", "weather", "Übermut"]
    assert ask_for(home, VIEWER, "GET", "/tags/pets")["description"] == "Cats"
    assert ask(home, VIEWER, "GET", "/tags/dogs")[0] == 404


@pytest.mark.parametrize("name", ["", " pets", "pets ", "*starred", "a#b", "a/b", "x" * 61, 7])
def test_a_name_that_cannot_be_one_is_refused(home, name):
    assert problem_of(home, OWNER, "POST", "/tags", {"name": name}) == (400, "name")


def test_names_that_look_equal_are_one_tag(home):
    ask_for(home, OWNER, "POST", "/tags", {"name": "cafe\u0301"})
    assert ask(home, OWNER, "POST", "/tags", {"name": "caf\u00e9"})[0] == 409


def test_clips_under_a_tag_come_newest_first_and_a_clip_says_its_tags(tagged):
    home, of_garden, of_hall = tagged
    assert [each["video"] for each in list_all(home, VIEWER, "/tags/pets/videos", limit=1)] == [of_hall, of_garden]
    assert ask_for(home, VIEWER, "GET", f"/videos/{of_hall}/cameras/hall/tags")["items"] == ["pets"]
    ascending = list_all(home, VIEWER, "/tags/pets/videos", limit=1, sortOrder="ascending")
    assert [each["video"] for each in ascending] == [of_garden, of_hall]
    since = list_all(home, VIEWER, "/tags/pets/videos", startTime=round(START_S - 150) * 1000)
    assert [each["video"] for each in since] == [of_hall]


def test_a_viewer_of_a_group_finds_only_its_clips_under_a_tag(tagged):
    home, of_garden, of_hall = tagged
    assert [each["video"] for each in list_all(home, GUEST, "/tags/pets/videos")] == [of_garden]
    assert ask(home, GUEST, "GET", f"/videos/{of_hall}/cameras/hall/tags")[0] == 404


def test_a_clip_is_put_under_several_tags_or_none_where_one_is_not_there(tagged):
    home, of_garden, _ = tagged
    ask_for(home, OWNER, "POST", "/tags", {"name": "night"})
    path = f"/videos/{of_garden}/cameras/garden/tags"
    assert ask(home, MEMBER, "POST", path, {"tags": ["night", "moon"]})[0] == 404
    assert ask_for(home, OWNER, "GET", path)["items"] == ["pets"]
    assert ask_for(home, MEMBER, "POST", path, {"tags": ["night", "pets"]})["tags"] == ["night", "pets"]


def test_a_clip_is_taken_from_under_a_tag_on_both_sides(tagged):
    home, of_garden, of_hall = tagged
    path = f"/videos/{of_garden}/cameras/garden/tags"
    for _ in range(2):
        assert ask(home, MEMBER, "DELETE", f"{path}/pets") == (204, None)
    assert ask_for(home, OWNER, "GET", path)["items"] == []
    assert [each["video"] for each in list_all(home, OWNER, "/tags/pets/videos")] == [of_hall]


def test_a_removed_tag_leaves_its_clips_and_comes_back_empty(tagged):
    home, of_garden, _ = tagged
    assert ask(home, MEMBER, "DELETE", "/tags/pets") == (204, None)
    assert ask(home, OWNER, "DELETE", "/tags/pets")[0] == 404
    assert ask_for(home, OWNER, "GET", f"/videos/{of_garden}/cameras/garden")["tags"] == []
    assert ask(home, OWNER, "GET", "/tags/pets/videos")[0] == 404
    ask_for(home, OWNER, "POST", "/tags", {"name": "pets"})
    assert list_all(home, OWNER, "/tags/pets/videos") == []


def test_a_tag_whose_clip_went_at_the_same_moment_is_removed_all_the_same(tagged, monkeypatch):
    home, _, _ = tagged

    def gone(*_arguments, **_named):
        raise NotFound("gone meanwhile")

    monkeypatch.setattr(home.clips, "change", gone)
    assert ask(home, OWNER, "DELETE", "/tags/pets")[0] == 204


def test_clips_that_are_not_there_or_not_seen_cannot_be_put_under_a_tag(tagged):
    home, _, _ = tagged
    missing = store_clip(home, GARDEN, START_S - 50)
    body = {"videos": [{"video": missing, "thingName": "garden"}]}
    assert problem_of(home, MEMBER, "POST", "/tags/pets/videos", body)[0] == 404
    assert problem_of(home, MEMBER, "POST", "/tags/pets/videos", {"videos": []}) == (400, "videos")
    assert problem_of(home, VIEWER, "POST", "/tags/pets/videos", body)[0] == 403


def test_a_clip_has_a_bounded_number_of_tags(tagged):
    home, of_garden, _ = tagged
    for number in range(20):
        ask_for(home, OWNER, "POST", "/tags", {"name": f"tag {number}"})
    path = f"/videos/{of_garden}/cameras/garden/tags"
    ask_for(home, OWNER, "POST", path, {"tags": [f"tag {number}" for number in range(19)]})
    assert problem_of(home, OWNER, "POST", path, {"tags": ["tag 19"]})[0] == 409


def test_a_star_on_a_clip_with_tags_keeps_it_under_them_for_ever(tagged):
    home, of_garden, _ = tagged
    ask_for(home, OWNER, "PUT", f"/videos/{of_garden}/cameras/garden", {"starred": True})
    home.clock.now_s += 100 * 86_400
    assert [each["video"] for each in list_all(home, OWNER, "/tags/pets/videos")] == [of_garden]
